package agentruntime_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
)

// seen is a text as a VisibleWriter writes it, given in pieces of a size.
func seen(t *testing.T, text string, size int) string {
	t.Helper()
	var out strings.Builder
	w := agentruntime.NewVisibleWriter(&out)
	for rest := []byte(text); len(rest) > 0; {
		piece := rest[:min(size, len(rest))]
		n, err := w.Write(piece)
		require.NoError(t, err)
		require.Equal(t, len(piece), n)
		rest = rest[len(piece):]
	}
	require.NoError(t, w.Flush())
	return out.String()
}

func TestVisibleWriter(t *testing.T) {
	for text, want := range map[string]string{
		"plain\ttext\n":              "plain\ttext\n",
		"grün, 漢字, 🙂\n":              "grün, 漢字, 🙂\n",
		"\x1b[31mred\x1b[0m":         "␛[31mred␛[0m",
		"\x1b]0;title\x07":           "␛]0;title␇",
		"over\rwritten":              "over␍written",
		"del\x7f, null\x00":          "del␡, null␀",
		"c1 \u009b31m":               "c1 �31m",
		"\u202egnp.exe":              "�gnp.exe",
		"bad \xff\xfe bytes":         "bad �� bytes",
		"half a character \xe2\x82":  "half a character �",
		"a \xe2\x82x that goes on\n": "a ��x that goes on\n",
	} {
		for _, size := range []int{1, 2, 3, 1000} {
			require.Equal(t, want, seen(t, text, size), "in pieces of %d", size)
		}
	}
}

// FuzzVisibleWriter: what comes out is harmless, and does not depend on how it went in.
func FuzzVisibleWriter(f *testing.F) {
	f.Add("\x1b[31m\xe2\x82\xac\xff\u202e", 1)
	f.Fuzz(func(t *testing.T, text string, size int) {
		out := seen(t, text, max(1, size%64))
		require.True(t, utf8.ValidString(out))
		for _, r := range out {
			require.False(t, unicode.IsControl(r) && r != '\n' && r != '\t', "%U", r)
		}
		require.Equal(t, seen(t, text, len(text)+1), out)
	})
}
