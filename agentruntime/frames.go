package agentruntime

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// FrameByte begins every frame line. The supervisor removes it from all that
// the agent writes.
const FrameByte = '\x1e'

// FrameMarker begins every frame line.
const FrameMarker = "\x1eagentmarket-result "

// LogStart is the first line of a container's log. A log that does not begin with it
// has lost its beginning.
const LogStart = FrameMarker + "start"

// LogEnd is the last line of the log of an attempt that has a gateway: what comes after
// it is not the agent's. It tells a whole log of a container that is still ending.
const LogEnd = FrameMarker + "end"

const (
	// frameChunk is how much of a body is in one frame. Its base64 and the
	// marker make less than 8 KiB: container runtimes split lines at 16 KiB.
	frameChunk = 5760
	maxFrame   = 8 << 10
)

// ErrNoFrames says that a log ends before the result in it is complete: it was
// rotated or cut. It is nothing that an agent can bring about by what it writes.
var ErrNoFrames = errors.New("the log has no complete result frames")

// WriteFrames writes body as frame lines under a nonce. The writer must be at
// the start of a line.
func WriteFrames(w io.Writer, nonce string, body []byte) error {
	if !hexNonce.MatchString(nonce) {
		return errors.New("write frames: the nonce must be 32 lower-case hex digits")
	}
	seq := 0
	line := make([]byte, 0, maxFrame)
	for ; len(body) > 0; seq++ {
		chunk := body[:min(len(body), frameChunk)]
		body = body[len(chunk):]
		line = append(line[:0], FrameMarker+nonce+" "...)
		line = strconv.AppendInt(line, int64(seq), 10)
		line = append(line, ' ')
		line = base64.StdEncoding.AppendEncode(line, chunk)
		if _, err := w.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("write frame %d: %w", seq, err)
		}
	}
	if _, err := fmt.Fprintf(w, "%s%s end %d\n", FrameMarker, nonce, seq); err != nil {
		return fmt.Errorf("write last frame: %w", err)
	}
	return nil
}

// ReadFrames finds the frames of a nonce in a log and returns the body. It stops
// reading at the end frame. Lines of others and repeated frames (a log reader
// that reconnects repeats lines) are skipped; a missing frame is an error, as is
// a body over MaxResultBytes. A log that ends too early gives [ErrNoFrames].
// The caller checks the body with [Envelope.VerifyBody].
//
// A frame is found anywhere in a line, since the log joins stdout and stderr and
// a long line of the one can be cut by the other. Only the nonce, which nobody
// knew while the agent lived, makes it a frame.
func ReadFrames(r io.Reader, nonce string) ([]byte, error) {
	if !hexNonce.MatchString(nonce) {
		return nil, errors.New("read frames: the nonce must be 32 lower-case hex digits")
	}
	marker := []byte(FrameMarker + nonce + " ")
	lines := frameLines{r: bufio.NewReaderSize(r, 2*maxFrame)}
	var body []byte
	next := 0
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read frames after %d: %w", next, ErrNoFrames)
		}
		if err != nil {
			return nil, fmt.Errorf("read frames: %w", err)
		}
		at := bytes.LastIndex(line, marker)
		if at < 0 {
			continue
		}
		word, rest, _ := bytes.Cut(line[at+len(marker):], []byte(" "))
		if string(word) == "end" {
			if string(rest) != strconv.Itoa(next) {
				return nil, fmt.Errorf("read frames: have %d, the end says %q", next, rest)
			}
			return body, nil
		}
		seq, err := strconv.Atoi(string(word))
		if err != nil || seq < 0 || seq > next {
			return nil, fmt.Errorf("read frames: frame %d is missing before %q", next, word)
		}
		if seq < next {
			continue
		}
		if body, err = base64.StdEncoding.Strict().AppendDecode(body, rest); err != nil {
			return nil, fmt.Errorf("read frame %d: %w", seq, err)
		}
		if len(body) > MaxResultBytes {
			return nil, fmt.Errorf("read frame %d: the body exceeds %d bytes", seq, MaxResultBytes)
		}
		next++
	}
}

// frameLines reads complete lines, of overlong ones only the end: a frame fits
// into it.
type frameLines struct {
	r    *bufio.Reader
	line []byte
}

// next returns a line without its newline. A last line that lacks it is not
// complete and gives io.EOF.
func (f *frameLines) next() ([]byte, error) {
	f.line = f.line[:0]
	for {
		part, err := f.r.ReadSlice('\n')
		if excess := len(f.line) + len(part) - 4*maxFrame; excess > 0 {
			keep := min(len(f.line), maxFrame)
			f.line = append(f.line[:0], f.line[len(f.line)-keep:]...)
		}
		f.line = append(f.line, part...)
		if err == nil {
			return bytes.TrimRight(f.line, "\r\n"), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}
