package agentruntime

import "io"

// StripFrames returns r without its frame lines, for people who read logs. It
// holds back at most the length of FrameMarker: all other text, also the start
// of a line that has no end yet, passes at once.
func StripFrames(r io.Reader) io.Reader { return &stripper{r: r} }

// stripper is a small machine over bytes:
//
//	          differs from the marker
//	start ─────────────────────────────► text ──newline──► start
//	  └──────whole marker──► frame ──newline──► start
type stripper struct {
	r     io.Reader
	state stripState
	held  int // bytes of the marker seen at the start of a line
	in    [4096]byte
	out   []byte // filtered, not yet handed out
	err   error  // of r, handed out after out
}

type stripState int

const (
	atStart stripState = iota
	inText
	inFrame
)

func (s *stripper) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(s.out) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		n, err := s.r.Read(s.in[:])
		s.out = s.filter(s.out[:0:cap(s.out)], s.in[:n])
		if s.err = err; err != nil && s.state == atStart {
			// What looked like a marker ended: it was text.
			s.out = append(s.out, FrameMarker[:s.held]...)
			s.held = 0
		}
		if n == 0 && err == nil {
			return 0, nil
		}
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	return n, nil
}

// filter appends to out what of in is no frame.
func (s *stripper) filter(out, in []byte) []byte {
	for _, c := range in {
		if s.state == atStart {
			if c == FrameMarker[s.held] {
				if s.held++; s.held == len(FrameMarker) {
					s.state, s.held = inFrame, 0
				}
				continue
			}
			out = append(out, FrameMarker[:s.held]...)
			s.state, s.held = inText, 0
		}
		if s.state == inText {
			out = append(out, c)
		}
		if c == '\n' {
			s.state = atStart
		}
	}
	return out
}
