package activities

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"agentmarket/infra"
)

// keptLog is what is kept of a log, in the form in which it came: its first and its
// last part, within a limit, and marks where something is missing.
type keptLog struct {
	limit int64     // bytes of each of the two parts
	began time.Time // before the first line

	head     []byte
	headFull bool
	tail     []infra.LogPiece
	tailSize int64

	leftOut   int64 // bytes between the parts
	leftOutAt time.Time
	last      time.Time
	beheaded  bool
	ended     bool // with the supervisor's last line
	broken    bool
}

// keepLog reads a log to its end, or to where it breaks off. It began after a time.
func keepLog(log io.Reader, limit int64, began time.Time) (*keptLog, error) {
	k := &keptLog{limit: limit / 2, began: began}
	lines := infra.NewLogReader(log, infra.LogPosition{})
	for {
		piece, err := lines.Next()
		k.beheaded, k.ended = lines.Beheaded(), lines.Ended()
		if errors.Is(err, io.EOF) {
			return k, nil
		}
		if err != nil {
			k.broken = true
			return k, err
		}
		k.add(piece)
	}
}

// sizeOf is the size of a piece in the log.
func sizeOf(p infra.LogPiece) int64 {
	size := int64(len(p.Text))
	if p.First {
		size += int64(len("2006-01-02T15:04:05.000000000Z "))
	}
	return size
}

func (k *keptLog) add(p infra.LogPiece) {
	k.last = p.At
	size := sizeOf(p)
	if k.headFull = k.headFull || int64(len(k.head))+size > k.limit; !k.headFull {
		k.head = p.AppendTo(k.head)
		return
	}
	p.Text = bytes.Clone(p.Text)
	k.tail, k.tailSize = append(k.tail, p), k.tailSize+size
	for k.tailSize > k.limit {
		gone := k.tail[0]
		k.tail, k.tailSize = k.tail[1:], k.tailSize-sizeOf(gone)
		k.leftOut, k.leftOutAt = k.leftOut+int64(len(gone.Text)), gone.At
	}
}

// truncated reports whether something is missing.
func (k *keptLog) truncated() bool { return k.beheaded || k.leftOut > 0 || k.broken }

// bytes is the log. The time of a mark in it is next to that of what it stands for, so
// that who has read that far gets it, and who has read on does not. That of a missing
// beginning is before all, for whoever followed the log has most likely seen it.
func (k *keptLog) bytes() []byte {
	var body []byte
	mark := func(at time.Time, text string, args ...any) {
		if n := len(body); n > 0 && body[n-1] != '\n' {
			body = append(body, '\n')
		}
		body = infra.LogPiece{At: at, First: true, Text: fmt.Appendf(nil, "[log truncated: "+text+"]\n", args...)}.AppendTo(body)
	}
	if k.beheaded {
		mark(k.began, "its beginning had been rotated away on the node")
	}
	body = append(body, k.head...)
	if k.leftOut > 0 {
		mark(k.leftOutAt.Add(1), "%d bytes are left out here", k.leftOut)
	}
	for i, p := range k.tail {
		p.First = p.First || i == 0 && k.leftOut > 0
		body = p.AppendTo(body)
	}
	if k.broken {
		mark(k.last.Add(1), "it could not be read further")
	}
	return body
}
