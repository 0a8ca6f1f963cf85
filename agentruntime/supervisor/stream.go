//go:build linux

package supervisor

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"agentmarket/agentruntime"
)

// stream passes one of the agent's outputs to the log as it comes, without
// waiting for lines, and remembers the last line and the number of bytes.
type stream struct {
	out    io.Writer
	reader *os.File
	done   chan struct{} // closed when the pump has ended
	broken chan error    // the pump's panic

	// turn is held while a chunk passes. It is a channel and not a mutex,
	// because close must not wait forever for a log that accepts nothing.
	turn   chan struct{}
	closed bool
	count  int64
	redact *agentruntime.RedactedStream
	open   bool // the last byte in the log was no newline
	last   lastLine
}

func newStream(out io.Writer, maxLine int, redact *agentruntime.RedactedStream) *stream {
	s := &stream{out: out, done: make(chan struct{}), broken: make(chan error, 1),
		turn: make(chan struct{}, 1), redact: redact, last: newLastLine(maxLine)}
	return s
}

// pipe makes the pipe and returns the end for the agent.
func (s *stream) pipe() (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	s.reader = r
	return w, nil
}

// start pumps in the background until the pipe ends or is closed.
func (s *stream) start() {
	go func() {
		defer close(s.done)
		defer func() {
			if r := recover(); r != nil {
				s.broken <- fmt.Errorf("pass the agent's output: panic: %v", r)
			}
		}()
		buffer := make([]byte, 32<<10)
		for {
			n, err := s.reader.Read(buffer)
			s.pass(buffer[:n])
			if err != nil {
				return
			}
		}
	}()
}

func (s *stream) pass(chunk []byte) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.closed || len(chunk) == 0 {
		return
	}
	s.count += int64(len(chunk))
	// The agent must not be able to write what looks like a frame. The byte is
	// removed everywhere, not only at the start of lines: where a line starts
	// is decided by whoever joins stdout and stderr.
	chunk = s.redact.Next(remove(chunk, agentruntime.FrameByte))
	if s.note(chunk) {
		// A log that fails loses its text; the agent's work goes on.
		_, _ = s.out.Write(chunk)
	}
}

// note remembers what is about to be written, and reports whether anything is.
func (s *stream) note(chunk []byte) bool {
	if len(chunk) == 0 {
		return false
	}
	s.last.write(chunk)
	s.open = chunk[len(chunk)-1] != '\n'
	return true
}

// drain waits for the pump's end: all writers are dead. A process that escaped
// with the pipe is left behind when the bound is over.
func (s *stream) drain(bound <-chan struct{}) {
	select {
	case <-s.done:
	case <-bound:
	}
	_ = s.reader.Close() // also unblocks the pump
}

// close lets nothing more of the agent pass. It fails if the log accepts
// nothing, or if the pump broke.
func (s *stream) close(bound time.Duration) error {
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case s.turn <- struct{}{}:
		s.closed = true
		<-s.turn
	case <-timer.C:
		return errNoOutput
	}
	if rest := s.redact.Rest(); s.note(rest) { // the text ended in what might have been a secret
		written := make(chan struct{})
		go func() {
			defer close(written)
			_, _ = s.out.Write(rest)
		}()
		select {
		case <-written:
		case <-timer.C:
			return errNoOutput
		}
	}
	select {
	case err := <-s.broken:
		return err
	default:
		return nil
	}
}

var errNoOutput = errors.New("the container's log accepts no output")

// endLine ends an unfinished line in the log, so that a frame starts its own.
func (s *stream) endLine() error {
	if !s.open {
		return nil
	}
	_, err := s.out.Write([]byte{'\n'})
	return err
}

// remove deletes a byte from text in place.
func remove(text []byte, b byte) []byte {
	first := bytes.IndexByte(text, b)
	if first < 0 {
		return text
	}
	kept := text[:first]
	for _, c := range text[first:] {
		if c != b {
			kept = append(kept, c)
		}
	}
	return kept
}

// lastLine remembers the last line that is not blank, of an overlong one only
// the beginning. Its memory is bounded by two lines.
type lastLine struct {
	max           int
	current, last lineBuffer
}

type lineBuffer struct {
	text     []byte
	over     bool // longer than max
	nonBlank bool
}

func newLastLine(max int) lastLine { return lastLine{max: max} }

func (l *lastLine) write(p []byte) {
	for len(p) > 0 {
		part, rest, newline := bytes.Cut(p, []byte{'\n'})
		l.current.add(part, l.max)
		if newline {
			if l.current.nonBlank {
				l.current, l.last = l.last, l.current
			}
			l.current = lineBuffer{text: l.current.text[:0]}
		}
		p = rest
	}
}

func (b *lineBuffer) add(part []byte, max int) {
	b.nonBlank = b.nonBlank || len(bytes.TrimSpace(part)) > 0
	if room := max - len(b.text); len(part) > room {
		part, b.over = part[:room], true
	}
	b.text = append(b.text, part...)
}

// get returns the line and whether it is cut; nil where there is none.
func (l *lastLine) get() (line []byte, over bool) {
	b := l.last
	if l.current.nonBlank {
		b = l.current
	}
	if !b.nonBlank {
		return nil, false
	}
	return b.text, b.over
}
