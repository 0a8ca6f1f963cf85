package agentruntime_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/fault"
)

const (
	someRun   = "run_01jd3m0f9zq4x8v5c7n2b6k1ta"
	someNonce = "00112233445566778899aabbccddeeff"
)

var someTime = time.Date(2026, 11, 22, 15, 0, 0, 123456789, time.UTC)

// ok is a valid envelope with a result.
func ok(result string) agentruntime.Envelope {
	zero := 0
	e := agentruntime.Envelope{V: 1, Run: someRun, Attempt: 1, Outcome: agentruntime.OK, ExitCode: &zero,
		StartedAt: someTime, FinishedAt: someTime.Add(time.Second), StdoutBytes: 5}
	if !e.SetResult([]byte(result)) {
		e.Frame = someNonce
	}
	return e
}

func failed() agentruntime.Envelope {
	return agentruntime.Envelope{V: 1, Run: someRun, Attempt: 2, Outcome: agentruntime.AgentError, Signal: "SIGSEGV",
		Message: "the agent died", StartedAt: someTime, FinishedAt: someTime}
}

func TestEnvelopeRoundTrip(t *testing.T) {
	for name, e := range map[string]agentruntime.Envelope{
		"inline":      ok(`{"html":"<b>&amp;</b>","u":"\u2028"}`),
		"null":        ok(`null`),
		"largest":     ok(`"` + strings.Repeat("x", agentruntime.MaxInlineBytes-2) + `"`),
		"one too big": ok(`"` + strings.Repeat("x", agentruntime.MaxInlineBytes-1) + `"`),
		"failed":      failed(),
	} {
		t.Run(name, func(t *testing.T) {
			data, err := e.Encode()
			require.NoError(t, err)
			require.LessOrEqual(t, len(data), agentruntime.MaxEnvelopeBytes)
			got, err := agentruntime.ParseEnvelope(data)
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(e, got))
			if e.Result != nil {
				require.NoError(t, got.VerifyBody(got.Result))
			}
		})
	}
}

func TestEncodeMakesAnyMessageFit(t *testing.T) {
	for name, message := range map[string]string{
		"long":    strings.Repeat("é", 5000),
		"escapes": strings.Repeat(`"\`, 5000),
		"control": "a\x00\x1b[31m\n\u202eb",
		"binary":  "\xff\xfe" + strings.Repeat("\x80", 3000),
	} {
		t.Run(name, func(t *testing.T) {
			// The largest envelope: an inline result beside a message.
			e := ok(`"` + strings.Repeat("x", agentruntime.MaxInlineBytes-2) + `"`)
			e.Message = message
			data, err := e.Encode()
			require.NoError(t, err)
			require.LessOrEqual(t, len(data), agentruntime.MaxEnvelopeBytes)
			got, err := agentruntime.ParseEnvelope(data)
			require.NoError(t, err)
			require.LessOrEqual(t, len(got.Message), agentruntime.MaxMessageBytes)
			require.NotContains(t, got.Message, "\u202e")
		})
	}
}

func TestParseEnvelopeRefusesContradictions(t *testing.T) {
	one, three := 1, 300
	for name, change := range map[string]func(*agentruntime.Envelope){
		"version":                 func(e *agentruntime.Envelope) { e.V = 2 },
		"run":                     func(e *agentruntime.Envelope) { e.Run = "run_x" },
		"attempt":                 func(e *agentruntime.Envelope) { e.Attempt = 0 },
		"outcome":                 func(e *agentruntime.Envelope) { e.Outcome = "fine" },
		"ok but exit 1":           func(e *agentruntime.Envelope) { e.ExitCode = &one },
		"ok without exit code":    func(e *agentruntime.Envelope) { e.ExitCode = nil },
		"exit code range":         func(e *agentruntime.Envelope) { e.ExitCode = &three },
		"exit code and signal":    func(e *agentruntime.Envelope) { e.Signal = "SIGKILL" },
		"signal is text":          func(e *agentruntime.Envelope) { e.ExitCode, e.Signal = nil, "kill -9" },
		"failure with result":     func(e *agentruntime.Envelope) { e.Outcome = agentruntime.AgentError },
		"no result":               func(e *agentruntime.Envelope) { e.Result = nil },
		"other result":            func(e *agentruntime.Envelope) { e.Result = []byte(`{"a":2}`) },
		"size":                    func(e *agentruntime.Envelope) { e.ResultSize++ },
		"hash":                    func(e *agentruntime.Envelope) { e.ResultSHA256 = strings.Repeat("0", 64) },
		"frame beside result":     func(e *agentruntime.Envelope) { e.Frame = someNonce },
		"frame is no nonce":       func(e *agentruntime.Envelope) { e.Result, e.Frame = nil, "x" },
		"too large":               func(e *agentruntime.Envelope) { e.Result, e.Frame, e.ResultSize = nil, someNonce, 1<<20+1 },
		"times swapped":           func(e *agentruntime.Envelope) { e.FinishedAt = e.StartedAt.Add(-1) },
		"no time":                 func(e *agentruntime.Envelope) { e.StartedAt = time.Time{} },
		"negative count":          func(e *agentruntime.Envelope) { e.StderrBytes = -1 },
		"message of several rows": func(e *agentruntime.Envelope) { e.Message = "a\nb" },
	} {
		t.Run(name, func(t *testing.T) {
			e := ok(`{"a":1}`)
			change(&e)
			data, err := json.Marshal(e)
			require.NoError(t, err)
			_, err = agentruntime.ParseEnvelope(data)
			require.True(t, fault.Is(err, fault.Invalid), "%v", err)
		})
	}
}

func TestParseEnvelopeRefusesOtherBytes(t *testing.T) {
	good, err := ok(`{}`).Encode()
	require.NoError(t, err)
	unknown := bytes.Replace(good, []byte(`{"v":1`), []byte(`{"x":1,"v":1`), 1)
	for _, data := range [][]byte{nil, []byte("null"), []byte("{}"), []byte("Killed"), good[:len(good)-1],
		append(bytes.Clone(good), good...), unknown, bytes.Repeat([]byte(" "), 5000), []byte("\xff")} {
		_, err := agentruntime.ParseEnvelope(data)
		require.True(t, fault.Is(err, fault.Invalid), "%.40q: %v", data, err)
	}
}

func TestVerifyBody(t *testing.T) {
	e := ok(`[1]`)
	require.NoError(t, e.VerifyBody([]byte(`[1]`)))
	require.Error(t, e.VerifyBody([]byte(`[2]`)))
	require.Error(t, e.VerifyBody([]byte(`[1] `)))
	require.Error(t, failed().VerifyBody(nil))
}

func TestCompactResult(t *testing.T) {
	for in, want := range map[string]string{" { \"a\" : [ 1 ] }\n": `{"a":[1]}`, "null": "null", `"<&>"`: `"<&>"`} {
		got, err := agentruntime.CompactResult([]byte(in))
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	for _, in := range []string{"", " ", "{}{}", "{", "'a'", "NaN", "\"\xff\"", "\ufeff{}", strings.Repeat("[", 11000)} {
		_, err := agentruntime.CompactResult([]byte(in))
		require.Error(t, err, "%.20q", in)
	}
}

func TestOutcomesAndExitCodes(t *testing.T) {
	seen := map[agentruntime.ExitCode]bool{}
	for _, row := range agentruntime.Outcomes() {
		require.False(t, seen[row.Code], "exit code %d is used twice", row.Code)
		seen[row.Code] = true
		require.NotContains(t, []agentruntime.ExitCode{2, 126, 127, 128}, row.Code)
		require.Less(t, int(row.Code), 129)
		require.True(t, row.Outcome.Known())
		outcome, known := row.Code.Outcome()
		require.True(t, known)
		require.Equal(t, row.Outcome, outcome)
		again, _ := row.Outcome.ExitCode().Outcome()
		require.Equal(t, row.Outcome, again)
	}
	_, known := agentruntime.ExitCode(137).Outcome()
	require.False(t, known)
	require.Equal(t, agentruntime.ExitPlatform, agentruntime.Outcome("new").ExitCode())
	require.False(t, agentruntime.Outcome("").Known())
}

func FuzzParseEnvelope(f *testing.F) {
	for _, e := range []agentruntime.Envelope{ok(`{"a":"<>"}`), ok(`null`), failed(), ok(`"` + strings.Repeat("x", 4000) + `"`)} {
		data, err := e.Encode()
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := agentruntime.ParseEnvelope(data)
		if err != nil {
			require.True(t, fault.Is(err, fault.Invalid))
			return
		}
		again, err := e.Encode()
		require.NoError(t, err)
		require.LessOrEqual(t, len(again), agentruntime.MaxEnvelopeBytes)
		parsed, err := agentruntime.ParseEnvelope(again)
		require.NoError(t, err)
		require.Equal(t, e.ResultSHA256, parsed.ResultSHA256)
		require.True(t, e.StartedAt.Equal(parsed.StartedAt))
	})
}
