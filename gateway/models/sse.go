package models

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxEvent bounds one event of a stream.
const maxEvent = 1 << 20

// errEventTooLarge ends a stream with an event that is longer than any chunk.
var errEventTooLarge = errors.New("an event of the stream is too large")

// doneMark is the data of the last event of a stream.
const doneMark = "[DONE]"

// events reads a stream of server-sent events. Of each event only its data is read:
// chunks have neither names nor identifiers.
type events struct {
	lines *bufio.Reader
}

func newEvents(r io.Reader) *events {
	return &events{lines: bufio.NewReaderSize(r, 32<<10)}
}

// next returns the data of the next event; empty: the upstream says that it is still
// there. After the last event it is io.EOF, also if that was cut: half an event is none.
func (e *events) next() ([]byte, error) {
	var data []byte
	has := false
	for {
		line, err := e.line(maxEvent - len(data))
		if err != nil {
			return nil, err
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case len(line) == 0 && has:
			return data, nil
		case len(line) == 0:
		case len(field) == 0: // a comment
			if !has {
				return nil, nil
			}
		case string(field) == "data":
			if has {
				data = append(data, '\n')
			}
			data = append(data, bytes.TrimPrefix(value, []byte(" "))...)
			has = true
		}
	}
}

// line reads one line of at most so many bytes, without its end.
func (e *events) line(most int) ([]byte, error) {
	var line []byte
	for {
		part, err := e.lines.ReadSlice('\n')
		if len(line)+len(part) > most {
			return nil, errEventTooLarge
		}
		line = append(line, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), nil
	}
}
