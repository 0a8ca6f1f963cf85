package agentruntime_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
)

func TestRedactor(t *testing.T) {
	r := agentruntime.NewRedactor([]byte("s3cr3t/+value"), []byte("short"), []byte("line one\n\"two\"\n"), []byte("87654321"))
	for name, test := range map[string][2]string{
		"nothing":            {"just text", "just text"},
		"as it is":           {"token=s3cr3t/+value.", "token=[redacted]."},
		"twice":              {"s3cr3t/+values3cr3t/+value", "[redacted][redacted]"},
		"base64":             {"czNjcjN0Lyt2YWx1ZQ==", "[redacted]=="},
		"hex":                {"7333637233742f2b76616c7565", "[redacted]"},
		"query":              {"?t=s3cr3t%2F%2Bvalue&x", "?t=[redacted]&x"},
		"path":               {"/s3cr3t%2F+value/", "/[redacted]/"},
		"lines":              {"line one\n\"two\"", "[redacted]"},
		"lines in JSON":      {`{"a":"line one\n\"two\""}`, `{"a":"[redacted]"}`},
		"too short":          {"short", "short"},
		"only its beginning": {"s3cr3t/+valu", "s3cr3t/+valu"},
	} {
		require.Equal(t, test[1], r.Text(test[0]), name)
	}
	odd := agentruntime.NewRedactor([]byte(`k/<"ä😀+ z`))
	for name, text := range map[string]string{
		"Go's JSON": `k/\u003c\"ä😀+ z`, "plain JSON": `k/<\"ä😀+ z`, "Python's JSON": `k/<\"\u00e4\ud83d\ude00+ z`, "PHP's JSON": `k\/<\"ä😀+ z`,
		"query": "k%2F%3C%22%C3%A4%F0%9F%98%80%2B+z", "lower case": "k%2f%3c%22%c3%a4%f0%9f%98%80%2b+z", "Python's quote": "k/%3C%22%C3%A4%F0%9F%98%80%2B%20z",
		"component": "k%2F%3C%22%C3%A4%F0%9F%98%80%2B%20z", "hex": "6B2F3C22C3A4F09F98802B207A",
	} {
		require.Equal(t, "a [redacted] b", odd.Text("a "+text+" b"), name)
	}
	require.Equal(t, `{"n":"[redacted]"}`, string(r.JSON([]byte(`{"n":"87654321"}`))))
	require.Equal(t, `"[redacted]"`, string(r.JSON([]byte(`{"n":87654321}`))))
	require.Equal(t, `{"n": 1`, string(r.JSON([]byte(`{"n": 1`))), "what was no JSON before")
}

func TestRedactorOfNothing(t *testing.T) {
	for _, r := range []*agentruntime.Redactor{nil, agentruntime.NewRedactor(), agentruntime.NewRedactor([]byte("short"))} {
		require.Nil(t, r)
		require.Equal(t, "text", r.Text("text"))
		require.Equal(t, "text", string(r.Stream().Next([]byte("text"))))
		require.Empty(t, r.Stream().Rest())
	}
}

// What may be the beginning of a secret waits, and nothing else does.
func TestRedactedStreamWaits(t *testing.T) {
	s := agentruntime.NewRedactor([]byte("password1")).Stream()
	require.Equal(t, "my ", string(s.Next([]byte("my pass"))))
	require.Empty(t, s.Next([]byte("word")))
	require.Equal(t, "[redacted]!", string(s.Next([]byte("1!"))))
	require.Equal(t, "a ", string(s.Next([]byte("a p"))))
	require.Equal(t, "p", string(s.Rest()))
}

// FuzzRedactor: however a text is cut, what comes out is the same, and has no secret.
func FuzzRedactor(f *testing.F) {
	f.Add("xaaaaaaaaaaaay", "aaaaaaaa", "aaaaaaaab", uint8(3))
	f.Add("abcdefghabcdefghi", "abcdefgh", "ghabcdefgh", uint8(1))
	f.Add(`{"k":"one\ntwo and more"}`, "one\ntwo and more", "", uint8(5))
	f.Fuzz(func(t *testing.T, text, first, second string, size uint8) {
		if len(text)+len(first)+len(second) > 4<<10 {
			return // the same again, only longer
		}
		r := agentruntime.NewRedactor([]byte(first), []byte(second))
		whole := r.Text(text)
		s := r.Stream()
		var parts strings.Builder
		for rest := text; rest != ""; {
			n := min(int(size)+1, len(rest))
			parts.Write(s.Next([]byte(rest[:n])))
			rest = rest[n:]
		}
		parts.Write(s.Rest())
		require.Equal(t, whole, parts.String())
		for piece := range strings.SplitSeq(whole, agentruntime.Redacted) {
			for _, secret := range []string{first, second} {
				if len(secret) >= agentruntime.MinRedacted {
					require.NotContains(t, piece, secret)
				}
			}
		}
		if json.Valid([]byte(text)) {
			require.True(t, json.Valid(r.JSON([]byte(text))))
		}
	})
}
