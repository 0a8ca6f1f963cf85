package agentruntime

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Redacted stands where a secret was.
const Redacted = "[redacted]"

// MinRedacted is the shortest secret that is looked for, in bytes: shorter ones are found
// in texts that have nothing to do with them.
const MinRedacted = 8

// Redactor replaces secrets in what comes out of a pod: as they are, in base64 and hex,
// and escaped for URLs and JSON. It keeps a secret from being shown by accident; whoever
// has one and means to show it finds another way to write it. It needs time in proportion
// to the text, whatever the secrets are. The nil Redactor changes nothing.
type Redactor struct {
	forms []form
}

// form is one way to write a secret. Of each beginning of it, border is the length of the
// longest shorter beginning that it ends in (Knuth, Morris, Pratt).
type form struct {
	text   []byte
	border []int32
}

// NewRedactor returns one for some secrets, nil if there is nothing to look for. White
// space around a secret is none of it.
func NewRedactor(secrets ...[]byte) *Redactor {
	var texts [][]byte
	for _, secret := range secrets {
		value := bytes.TrimSpace(secret)
		if len(value) < MinRedacted {
			continue
		}
		digits := hex.EncodeToString(value)
		texts = append(texts, value, []byte(digits), []byte(strings.ToUpper(digits)))
		texts = append(append(texts, inJSON(string(value))...), inURLs(string(value))...)
		for _, v := range [][]byte{value, secret} { // which base64 does not end alike
			texts = append(texts, []byte(base64.RawStdEncoding.EncodeToString(v)), []byte(base64.RawURLEncoding.EncodeToString(v)))
		}
	}
	if len(texts) == 0 {
		return nil
	}
	slices.SortFunc(texts, bytes.Compare)
	r := &Redactor{}
	for _, text := range slices.CompactFunc(texts, bytes.Equal) {
		r.forms = append(r.forms, newForm(text))
	}
	return r
}

// inJSON are the ways in which encoders write a text between the quotes.
func inJSON(text string) (forms [][]byte) {
	var plain bytes.Buffer
	encoder := json.NewEncoder(&plain)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text)      // a string has its JSON
	safe, _ := json.Marshal(text) // as Go writes it
	for _, form := range [][]byte{bytes.TrimSpace(plain.Bytes()), safe} {
		form = form[1 : len(form)-1]
		forms = append(forms, form, bytes.ReplaceAll(form, []byte("/"), []byte(`\/`)), asciiJSON(form))
	}
	return forms
}

// asciiJSON escapes what is not ASCII, as Python does.
func asciiJSON(text []byte) []byte {
	var form []byte
	for _, c := range string(text) {
		switch {
		case c < utf8.RuneSelf:
			form = append(form, byte(c))
		case c > 0xffff:
			high, low := utf16.EncodeRune(c)
			form = fmt.Appendf(form, `\u%04x\u%04x`, high, low)
		default:
			form = fmt.Appendf(form, `\u%04x`, c)
		}
	}
	return form
}

var percents = regexp.MustCompile(`%[0-9A-F]{2}`)

// inURLs are the ways in which a text stands in URLs: with + or %20, the slash escaped or
// not, and digits of either case.
func inURLs(text string) (forms [][]byte) {
	strict := strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
	for _, form := range []string{url.QueryEscape(text), url.PathEscape(text), strict, strings.ReplaceAll(strict, "%2F", "/")} {
		forms = append(forms, []byte(form), percents.ReplaceAllFunc([]byte(form), bytes.ToLower))
	}
	return forms
}

func newForm(text []byte) form {
	f := form{text, make([]int32, len(text)+1)}
	for n := 1; n < len(text); n++ {
		f.border[n+1] = int32(f.step(int(f.border[n]), text[n])) //nolint:gosec // far from 2 GiB
	}
	return f
}

// step is how much of the form a text ends in that ended in so much of it before a byte.
func (f form) step(have int, b byte) int {
	if have == len(f.text) {
		have = int(f.border[have])
	}
	for have > 0 && f.text[have] != b {
		have = int(f.border[have])
	}
	if f.text[have] == b {
		have++
	}
	return have
}

// Text returns a text without secrets.
func (r *Redactor) Text(text string) string {
	if r == nil || text == "" {
		return text
	}
	s := r.Stream()
	return string(append(s.Next([]byte(text)), s.Rest()...))
}

// JSON returns a JSON value without secrets. Where one was no string, nothing of the
// value stays.
func (r *Redactor) JSON(value []byte) []byte {
	if r == nil {
		return value
	}
	clean := []byte(r.Text(string(value)))
	if !bytes.Equal(clean, value) && !json.Valid(clean) {
		return []byte(`"` + Redacted + `"`)
	}
	return clean
}

// Stream returns a filter for a text that comes in parts.
func (r *Redactor) Stream() *RedactedStream {
	if r == nil {
		return &RedactedStream{}
	}
	return &RedactedStream{forms: r.forms, have: make([]int, len(r.forms))}
}

// RedactedStream is a text that comes in parts, without secrets. What may be the
// beginning of one is kept until it is known.
type RedactedStream struct {
	forms   []form
	have    []int // how much of each form the text ends in
	pending []byte
	hits    []hit // in pending
	covered int   // bytes of pending that belong to a secret that was replaced already
}

// hit is where a secret is.
type hit struct{ from, to int }

// Next takes a part and returns what is known of the text since. The part is the
// caller's again after that, unless there is nothing to look for.
func (s *RedactedStream) Next(part []byte) []byte {
	if len(s.forms) == 0 {
		return part
	}
	open := 0
	for i, f := range s.forms {
		s.have[i] = s.find(f, s.have[i], part)
		open = max(open, s.have[i])
	}
	s.pending = append(s.pending, part...)
	return s.take(len(s.pending) - open)
}

// find looks for a form in a part that follows what is pending.
func (s *RedactedStream) find(f form, have int, part []byte) int {
	first, before := len(s.hits), len(s.pending)
	for i := 0; i < len(part); i++ {
		if have == 0 { // where most texts are most of the time
			skip := bytes.IndexByte(part[i:], f.text[0])
			if skip < 0 {
				return 0
			}
			i += skip
		}
		if have = f.step(have, part[i]); have < len(f.text) {
			continue
		}
		h := hit{before + i + 1 - len(f.text), before + i + 1}
		if n := len(s.hits); n > first && h.from < s.hits[n-1].to {
			s.hits[n-1].to = h.to
		} else {
			s.hits = append(s.hits, h)
		}
	}
	return have
}

// Rest returns what is left at the end of the text.
func (s *RedactedStream) Rest() []byte { return s.take(len(s.pending)) }

// take returns the first so many bytes of what is pending.
func (s *RedactedStream) take(limit int) []byte {
	if limit <= 0 {
		return nil
	}
	slices.SortFunc(s.hits, func(a, b hit) int { return cmp.Or(a.from-b.from, b.to-a.to) })
	var out []byte
	var later []hit
	replaced := s.covered // the end of the last secret that was replaced
	at := min(replaced, limit)
	for _, h := range s.hits {
		switch {
		case h.from >= limit:
			later = append(later, hit{h.from - limit, h.to - limit})
		case h.from < replaced:
			replaced = max(replaced, h.to)
		default:
			out = append(append(out, s.pending[at:h.from]...), Redacted...)
			replaced = h.to
		}
		at = min(max(at, replaced), limit)
	}
	out = append(out, s.pending[at:limit]...)
	s.pending = append(s.pending[:0], s.pending[limit:]...)
	s.hits, s.covered = later, max(replaced-limit, 0)
	return out
}
