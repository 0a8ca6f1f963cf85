package agentruntime

import (
	"io"
	"slices"
	"unicode/utf8"
)

// VisibleWriter writes the text of strangers so that it is harmless for who looks at it
// in a terminal or an editor: nothing moves the cursor, hides text or turns its
// direction. Control characters but newline and tab become their pictures (␛ for
// escape), C1 controls, marks of direction and bytes that are no UTF-8 become U+FFFD.
// A character that comes in pieces is held back until it is whole, at most three
// bytes: see Flush.
type VisibleWriter struct {
	w    io.Writer
	rest []byte
}

// NewVisibleWriter returns a writer to w.
func NewVisibleWriter(w io.Writer) *VisibleWriter { return &VisibleWriter{w: w} }

// Write implements io.Writer.
func (v *VisibleWriter) Write(p []byte) (int, error) {
	data := slices.Concat(v.rest, p)
	out := make([]byte, 0, len(data))
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		if r == utf8.RuneError && n == 1 && !utf8.FullRune(data) {
			break // the rest of it is on the way
		}
		out, data = utf8.AppendRune(out, visible(r)), data[n:]
	}
	v.rest = data
	if len(out) > 0 {
		if _, err := v.w.Write(out); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// Flush writes what is held back of a character that has no end.
func (v *VisibleWriter) Flush() error {
	if len(v.rest) == 0 {
		return nil
	}
	v.rest = nil
	_, err := io.WriteString(v.w, string(utf8.RuneError))
	return err
}

const (
	pictures      = 0x2400 // of the control characters, in their order
	pictureDelete = 0x2421
)

// visible is the form of a character in which it does nothing.
func visible(r rune) rune {
	switch {
	case r == '\n', r == '\t':
		return r
	case r < 0x20:
		return pictures + r
	case r == 0x7f:
		return pictureDelete
	case r >= 0x80 && r <= 0x9f, // C1 controls
		r >= 0x200e && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x061c, // direction
		r >= 0x2028 && r <= 0x2029,                // other ends of lines
		r == 0xfeff, r >= 0xe0000 && r <= 0xe007f: // text that nobody sees
		return utf8.RuneError
	}
	return r
}
