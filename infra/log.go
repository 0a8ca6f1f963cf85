package infra

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"time"

	"agentmarket/agentruntime"
)

// LogTime is the form of the time before each line of a log: RFC 3339 with
// nanoseconds. A space comes after it.
const LogTime = "2006-01-02T15:04:05.000000000Z07:00"

// logPiece bounds a piece of a line.
const logPiece = 16 << 10

// LogPosition is how far a log was read: up to a line, which is told from others by
// its time, and into it. The zero position is the beginning.
type LogPosition struct {
	At    time.Time
	Line  int   // among the lines of this time, from 1
	Bytes int64 // of the line's text
}

// LogPiece is a line of a log, or a part of a long one.
type LogPiece struct {
	At    time.Time // of its line
	First bool      // it begins its line
	Text  []byte    // with the newline; valid until the next piece is read
}

// AppendTo appends the piece in the form in which [Cluster].Logs hands it out.
func (p LogPiece) AppendTo(log []byte) []byte {
	if p.First {
		log = append(p.At.UTC().AppendFormat(log, LogTime), ' ')
	}
	return append(log, p.Text...)
}

// LogReader reads a log as [Cluster].Logs hands it out, from a position on. A log is
// opened again where it breaks off, and its older parts are rotated away: only the
// times tell what was read before. The lines in which a result travels are left out.
type LogReader struct {
	lines *bufio.Reader
	err   error // of lines, after what came with it

	position LogPosition
	seeking  bool  // for the line of the position
	same     int   // lines of its time that were seen
	inLine   bool  // the next piece goes on with a line
	unknown  bool  // this line has no time
	leaveOut bool  // this line
	skip     int64 // bytes of this line that were read before

	any, whole, ended bool
}

// NewLogReader returns a reader from a position on.
func NewLogReader(log io.Reader, from LogPosition) *LogReader {
	return &LogReader{lines: bufio.NewReaderSize(log, logPiece), position: from, seeking: from.Line > 0}
}

// Position is where what Next returned ends.
func (l *LogReader) Position() LogPosition { return l.position }

// Beheaded reports, after the first piece or the end, whether the log was read from its
// beginning and that is not the one of the container: it was rotated away.
func (l *LogReader) Beheaded() bool { return l.any && !l.whole }

// Ended reports whether the log was read to the line with which the supervisor ends it.
func (l *LogReader) Ended() bool { return l.ended }

// More reports whether Next would return at once.
func (l *LogReader) More() bool {
	buffered, _ := l.lines.Peek(l.lines.Buffered())
	return l.err != nil || bytes.IndexByte(buffered, '\n') >= 0
}

// Next returns the next piece. The error is io.EOF at the end, and that of the log
// where it breaks off.
func (l *LogReader) Next() (LogPiece, error) {
	for {
		if l.err != nil {
			return LogPiece{}, l.err
		}
		line, err := l.lines.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			l.err = err
		}
		if len(line) == 0 {
			continue
		}
		if piece := l.read(line); len(piece.Text) > 0 {
			return piece, nil
		}
	}
}

// read takes a line or a part of one, and returns what of it is new.
func (l *LogReader) read(text []byte) LogPiece {
	first := !l.inLine
	l.inLine = text[len(text)-1] != '\n'
	if first {
		text = l.begin(text)
	}
	if seen := min(l.skip, int64(len(text))); seen > 0 {
		text, first = text[seen:], false
		l.skip -= seen
	}
	if l.seeking || l.unknown {
		return LogPiece{}
	}
	l.position.Bytes += int64(len(text))
	if l.leaveOut {
		return LogPiece{}
	}
	return LogPiece{At: l.position.At, First: first, Text: text}
}

// begin reads the time of a line and returns the rest. A line without one is the rest
// of one that is older than what was asked for.
func (l *LogReader) begin(line []byte) []byte {
	stamp, text, _ := bytes.Cut(line, []byte(" "))
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	if l.unknown = err != nil; l.unknown {
		return line
	}
	l.leaveOut = bytes.HasPrefix(text, []byte{agentruntime.FrameByte})
	if bytes.Equal(bytes.TrimRight(text, "\r\n"), []byte(agentruntime.LogEnd)) {
		l.err, l.ended = io.EOF, true // whether or not the container goes on
	}
	if !l.any {
		l.any, l.whole = true, l.seeking || bytes.Equal(bytes.TrimRight(text, "\r\n"), []byte(agentruntime.LogStart))
	}
	if l.seeking && at.Equal(l.position.At) {
		if l.same++; l.same == l.position.Line {
			l.seeking, l.skip = false, l.position.Bytes
		}
		return text
	}
	if l.seeking && at.Before(l.position.At) {
		return text
	}
	l.seeking, l.skip = false, 0
	number := 1
	if at.Equal(l.position.At) {
		number = l.position.Line + 1
	}
	l.position = LogPosition{At: at, Line: number}
	return text
}
