package agentruntime

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"agentmarket/fault"
	"agentmarket/ids"
)

// EnvelopeVersion is the version of the envelope's form.
const EnvelopeVersion = 1

// Envelope is the supervisor's report about one attempt: the termination
// message of the container.
type Envelope struct {
	V       int     `json:"v"` // EnvelopeVersion
	Run     ids.Run `json:"run"`
	Attempt int     `json:"attempt"`
	Outcome Outcome `json:"outcome"`
	// ExitCode is the agent's own. Nil: it did not exit by itself but died of
	// a signal, or never started.
	ExitCode *int `json:"exit_code,omitempty"`
	// Signal is the name of the signal that the agent died of, such as SIGKILL.
	Signal string `json:"signal,omitempty"`
	// Message is for people, at most 512 bytes on one line. It may contain
	// text of the agent (its last line on stderr): show it as text only.
	Message string `json:"message,omitempty"`
	// StartedAt is when the agent was started, or when the attempt to start it
	// began.
	StartedAt  time.Time `json:"started_at"`
	FinishedAt time.Time `json:"finished_at"`

	// Result is the result itself, where it has at most MaxInlineBytes.
	Result json.RawMessage `json:"result,omitempty"`
	// ResultSize and ResultSHA256 (hex) describe the result, inline or framed.
	ResultSize   int    `json:"result_size,omitempty"`
	ResultSHA256 string `json:"result_sha256,omitempty"`
	// Stored says that the gateway has the result.
	Stored bool `json:"stored,omitempty"`
	// Frame is the nonce of the frames in the container's log that hold the
	// result, 32 hex digits. Empty: inline, with the gateway, or no result.
	Frame string `json:"frame,omitempty"`

	// StdoutBytes and StderrBytes count what the agent wrote.
	StdoutBytes int64 `json:"stdout_bytes"`
	StderrBytes int64 `json:"stderr_bytes"`
}

var (
	hexNonce      = regexp.MustCompile(`^[0-9a-f]{32}$`)
	hexSHA256     = regexp.MustCompile(`^[0-9a-f]{64}$`)
	signalPattern = regexp.MustCompile(`^SIG[A-Z0-9+-]{1,12}$`)
)

// SetResult describes body in the envelope and takes it in if it is small
// enough. If it is not, SetResult returns false and the caller stores the result with
// the gateway, or writes frames under a nonce that it puts into Frame.
func (e *Envelope) SetResult(body []byte) (inline bool) {
	sum := sha256.Sum256(body)
	e.ResultSize, e.ResultSHA256 = len(body), hex.EncodeToString(sum[:])
	if len(body) <= MaxInlineBytes {
		e.Result = body
		return true
	}
	return false
}

// Redact takes secrets out of what the agent says in the envelope. Whoever speaks for it
// has described its result without them already.
func (e *Envelope) Redact(r *Redactor) {
	e.Message = cleanMessage(r.Text(e.Message))
	clean := r.JSON(e.Result)
	if bytes.Equal(clean, e.Result) {
		return
	}
	if !e.SetResult(clean) { // what stands for a secret is longer than it was
		e.SetResult([]byte(`"` + Redacted + `"`))
	}
}

// Conclusive reports whether the envelope is the whole truth about the end of the
// attempt. Of other ends the cluster may know more: of a signal, that it was the
// kernel's; of a SIGTERM, whose it was.
func (e Envelope) Conclusive() bool {
	switch e.Outcome {
	case OK, AgentNoResult, AgentInvalidResult:
		return true
	case AgentError:
		return e.ExitCode != nil
	default:
		return false
	}
}

// VerifyBody reports whether body, read from frames, is the result that the
// envelope describes.
func (e Envelope) VerifyBody(body []byte) error {
	sum := sha256.Sum256(body)
	switch {
	case e.ResultSHA256 == "":
		return fmt.Errorf("verify result of %s attempt %d: the envelope has no result", e.Run, e.Attempt)
	case len(body) != e.ResultSize:
		return fmt.Errorf("verify result of %s attempt %d: %d bytes, the envelope says %d", e.Run, e.Attempt, len(body), e.ResultSize)
	case hex.EncodeToString(sum[:]) != e.ResultSHA256:
		return fmt.Errorf("verify result of %s attempt %d: SHA-256 differs", e.Run, e.Attempt)
	case !validJSON(body):
		return fmt.Errorf("verify result of %s attempt %d: not one JSON value", e.Run, e.Attempt)
	}
	return nil
}

// Validate checks the envelope as a whole: the supervisor before it speaks, the
// platform before it believes.
func (e Envelope) Validate() error {
	var f findings
	f.check(e.V == EnvelopeVersion, "/v", "must be %d", EnvelopeVersion)
	f.check(ids.Valid(ids.PrefixRun, string(e.Run)), "/run", "must identify a run")
	f.between(int64(e.Attempt), 1, MaxAttempt, "/attempt")
	f.check(e.Outcome.Known(), "/outcome", "is not an outcome")
	f.check(e.ExitCode == nil || *e.ExitCode >= 0 && *e.ExitCode <= 255, "/exit_code", "must be between 0 and 255")
	f.check(e.Signal == "" || signalPattern.MatchString(e.Signal), "/signal", "must be the name of a signal")
	f.check(e.ExitCode == nil || e.Signal == "", "/signal", "must be absent beside an exit code")
	f.check(e.Message == cleanMessage(e.Message), "/message", "must be one line of at most %d bytes", MaxMessageBytes)
	f.check(plausible(e.StartedAt) && plausible(e.FinishedAt), "/started_at", "must be a time since 1970")
	f.check(!e.FinishedAt.Before(e.StartedAt), "/finished_at", "must not be before started_at")
	f.check(e.StdoutBytes >= 0, "/stdout_bytes", "must not be negative")
	f.check(e.StderrBytes >= 0, "/stderr_bytes", "must not be negative")
	if e.Outcome == OK {
		e.validateResult(&f)
	} else {
		f.check(len(e.Result) == 0 && e.ResultSize == 0 && e.ResultSHA256 == "" && e.Frame == "" && !e.Stored, "/result",
			"must be absent unless the outcome is %s", OK)
	}
	if len(f) > 0 {
		return fault.New(fault.Invalid, "envelope_invalid", "the result envelope is not valid").WithFields(f...)
	}
	return nil
}

func (e Envelope) validateResult(f *findings) {
	f.check(e.ExitCode != nil && *e.ExitCode == 0, "/exit_code", "must be 0 when the outcome is %s", OK)
	f.between(int64(e.ResultSize), 1, MaxResultBytes, "/result_size")
	f.check(hexSHA256.MatchString(e.ResultSHA256), "/result_sha256", "must be a SHA-256 in lower-case hex")
	f.check(!e.Stored || e.Frame == "", "/frame", "must be absent where the result is stored")
	if e.Frame != "" || e.Stored {
		f.check(e.Stored || hexNonce.MatchString(e.Frame), "/frame", "must be 32 lower-case hex digits")
		f.check(len(e.Result) == 0, "/result", "must be absent beside a frame, or where it is stored")
		return
	}
	f.check(len(e.Result) <= MaxInlineBytes && e.VerifyBody(e.Result) == nil, "/result",
		"must be the result that result_size and result_sha256 describe, of at most %d bytes", MaxInlineBytes)
}

// Encode returns the envelope as JSON of at most MaxEnvelopeBytes. It cleans
// the message and shortens it where needed; everything else has to be valid.
func (e Envelope) Encode() ([]byte, error) {
	for e.Message = cleanMessage(e.Message); ; e.Message = cleanMessage(e.Message[:len(e.Message)/2]) {
		if err := e.Validate(); err != nil {
			return nil, fmt.Errorf("encode envelope of %s: %w", e.Run, err)
		}
		var b bytes.Buffer
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false) // it would change the bytes of the result
		if err := encoder.Encode(e); err != nil {
			return nil, fmt.Errorf("encode envelope of %s: %w", e.Run, err)
		}
		if data := bytes.TrimRight(b.Bytes(), "\n"); len(data) <= MaxEnvelopeBytes {
			return data, nil
		}
		if e.Message == "" {
			return nil, fmt.Errorf("encode envelope of %s: more than %d bytes", e.Run, MaxEnvelopeBytes)
		}
	}
}

// ParseEnvelope reads a termination message. It refuses what the supervisor
// would not write: unknown fields, more than MaxEnvelopeBytes, contradictions.
// Errors are fault.Invalid. The caller compares Run and Attempt with its own.
func ParseEnvelope(data []byte) (Envelope, error) {
	if len(data) > MaxEnvelopeBytes {
		return Envelope{}, fault.Newf(fault.Invalid, "envelope_invalid", "the result envelope has more than %d bytes", MaxEnvelopeBytes)
	}
	var e Envelope
	err := decodeStrict(data, &e)
	if err == nil && !utf8.Valid(data) {
		err = errors.New("not UTF-8")
	}
	if err != nil {
		f := fault.Wrap(fault.Invalid, err, "the result envelope cannot be read")
		f.Code = "envelope_invalid"
		return Envelope{}, f
	}
	if err := e.Validate(); err != nil {
		return Envelope{}, err
	}
	return e, nil
}

// plausible reports whether t is a time that a clock can show and RFC 3339 can
// spell.
func plausible(t time.Time) bool {
	return t.UTC().Year() >= 1970 && t.UTC().Year() < 9999
}

// cleanMessage makes text fit for a message: one line, valid UTF-8, no control
// characters, at most MaxMessageBytes. It is idempotent.
func cleanMessage(text string) string {
	if len(text) > 4*MaxMessageBytes {
		text = text[:4*MaxMessageBytes]
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	text = strings.Map(func(r rune) rune {
		// Cf are invisible formats such as bidirectional overrides, with which
		// an agent could make a message read differently than it is.
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, text)
	text = strings.TrimSpace(text)
	if len(text) > MaxMessageBytes {
		cut := MaxMessageBytes
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = strings.TrimSpace(text[:cut])
	}
	return text
}

// validJSON reports whether body is one JSON value in valid UTF-8.
func validJSON(body []byte) bool { return utf8.Valid(body) && json.Valid(body) }

// CompactResult checks that raw is one JSON value in valid UTF-8 and returns it
// without insignificant white space: the form in which results are hashed,
// stored and sent.
func CompactResult(raw []byte) ([]byte, error) {
	if !utf8.Valid(raw) {
		return nil, errors.New("not valid UTF-8")
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
