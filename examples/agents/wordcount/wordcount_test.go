// Package wordcount_test runs agent.sh with the shell that its image has, or
// with the one of this computer.
package wordcount_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/examples/agents/agenttest"
)

// count runs the agent. With busybox, all of its tools are busybox's.
func count(t *testing.T, input []byte) (result []byte, stderr string, code int) {
	t.Helper()
	const busybox = "/bin/busybox"
	if _, err := os.Stat(busybox); err != nil {
		return agenttest.Run(t, input, nil, "sh", "agent.sh")
	}
	dir := t.TempDir()
	for _, tool := range []string{"sh", "od", "awk"} {
		require.NoError(t, os.Symlink(busybox, filepath.Join(dir, tool)))
	}
	t.Setenv("PATH", dir)
	return agenttest.Run(t, input, nil, filepath.Join(dir, "sh"), "agent.sh")
}

func TestSample(t *testing.T) {
	m := agenttest.Manifest(t)
	require.Equal(t, []string{"/bin/sh", "/agent.sh"}, m.Command)
	input := agenttest.Read(t, "sample-input.json")
	require.NoError(t, agenttest.Valid(t, m.InputSchema, input))
	result, stderr, code := count(t, input)
	require.Equal(t, 0, code, stderr)
	require.NoError(t, agenttest.Valid(t, m.OutputSchema, result))
	require.JSONEq(t, string(agenttest.Read(t, "sample-output.json")), string(result))
}

// want counts in Go what the agent counts in awk.
func want(counted, text string) string {
	lines := strings.Count(text, "\n")
	if text != "" && !strings.HasSuffix(text, "\n") {
		lines++
	}
	words := len(strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r >= 9 && r <= 13 }))
	return fmt.Sprintf(`{"counted":%q,"lines":%d,"words":%d,"bytes":%d}`, counted, lines, words, len(text))
}

func TestCounts(t *testing.T) {
	schema := agenttest.Manifest(t).OutputSchema
	for name, text := range map[string]string{
		"empty":         "",
		"one word":      "word",
		"white space":   " \t\r\n\v\f ",
		"Unicode":       "Größe Ωμέγα 漢字 😀\u2028x",
		"JSON inside":   `{"text": "inner"} \" \\`,
		"shell inside":  "$(touch x) `id` ; rm -rf \"$HOME\" '\n' %s %d",
		"control bytes": "a\x00b\x01\x1f",
	} {
		for form, encode := range map[string]func(string) []byte{
			"plain": func(s string) []byte {
				var b bytes.Buffer
				e := json.NewEncoder(&b)
				e.SetEscapeHTML(false)
				_ = e.Encode(map[string]string{"before": "text", "text": s, "zafter": s})
				return b.Bytes()
			},
			"escaped": func(s string) []byte {
				var b strings.Builder
				for _, r := range s {
					if r > 0xffff {
						r -= 0x10000
						fmt.Fprintf(&b, `\u%04x\u%04X`, 0xd800+r>>10, 0xdc00+r&0x3ff)
					} else {
						fmt.Fprintf(&b, `\u%04X`, r)
					}
				}
				return []byte(`{ "te\u0078t" : "` + b.String() + `" }`)
			},
		} {
			result, stderr, code := count(t, encode(text))
			require.Equal(t, 0, code, stderr)
			require.NoError(t, agenttest.Valid(t, schema, result))
			require.JSONEq(t, want("text", text), string(result), "%s, %s", name, form)
		}
	}
}

func TestOtherInputsAreCountedAsTheyAre(t *testing.T) {
	for _, input := range []string{
		`null`, `"text"`, `7`, "[1,\n 2]\n", `{}`, `["text","x"]`, `[{"text":"x"}]`,
		`{"a":{"text":"x"}}`, `{"a":"text","b":"x y"}`, `{"text":7}`, `{"text":["x"]}`, `{"text":{"text":"x"}}`,
		`{"text":"x","text":null}`, `{"texts":"x"}`, `{"text-and-more":"x"}`,
	} {
		result, stderr, code := count(t, []byte(input))
		require.Equal(t, 0, code, stderr)
		require.JSONEq(t, want("input", input), string(result), input)
	}
	result, _, _ := count(t, []byte(`{"text":["no"],"text":"yes yes"}`))
	require.JSONEq(t, want("text", "yes yes"), string(result), "the last one of a name counts")
}

func TestLargeInput(t *testing.T) {
	text := strings.Repeat("all work and no play\n", 35_000)
	input, err := json.Marshal(map[string]string{"text": text})
	require.NoError(t, err)
	result, stderr, code := count(t, input)
	require.Equal(t, 0, code, stderr)
	require.JSONEq(t, want("text", text), string(result))
}
