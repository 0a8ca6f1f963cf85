package api

import (
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	errorRow  = regexp.MustCompile(`(?m)^\| (\d{3}) \| ([^|]+) \|`)
	errorCode = regexp.MustCompile("`([a-z_]+)`")
)

// notCodes are in the table of errors, and are none.
var notCodes = map[string]bool{"run_status": true}

// TestEveryCodeIsExplained: the table of errors in docs/api.md has every code, at its
// status, and no other one.
func TestEveryCodeIsExplained(t *testing.T) {
	text, err := os.ReadFile("../docs/api.md")
	require.NoError(t, err)
	explained := map[string]int{}
	for _, row := range errorRow.FindAllStringSubmatch(string(text), -1) {
		status, err := strconv.Atoi(row[1])
		require.NoError(t, err)
		for _, code := range errorCode.FindAllStringSubmatch(row[2], -1) {
			if !notCodes[code[1]] {
				require.NotContains(t, explained, code[1], "twice")
				explained[code[1]] = status
			}
		}
	}
	want := map[string]int{}
	for code, entry := range catalog {
		want[code] = entry.status
	}
	require.Equal(t, want, explained)
}
