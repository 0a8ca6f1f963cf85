package e2e

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// chaosReport is what happened, for people.
type chaosReport struct {
	seed        uint64
	chaos, calm time.Duration
	killed      []*victim
	runs        []*chaosRun
	left        left          // when the last run had ended
	cleared     time.Duration // until nothing was left
}

// String is two tables in Markdown.
func (r chaosReport) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%d runs in %s, seed %d. The last one had ended %s after it was calm.\n\n",
		len(r.runs), r.chaos.Round(time.Second), r.seed, r.calm.Round(time.Second))
	text.WriteString("| killed with SIGKILL | times |\n|---|---|\n")
	for _, v := range r.killed {
		fmt.Fprintf(&text, "| %s | %d |\n", v.name, v.kills.Load())
	}
	results, again := map[string]int{}, map[string]int{}
	for _, run := range r.runs {
		result := run.run.Status
		if run.exhausted() {
			result += ", by the platform: its attempts ran out"
		}
		results[result]++
		for _, a := range run.run.Attempts[:max(0, len(run.run.Attempts)-1)] {
			again[a.Reason]++
		}
	}
	text.WriteString("\n| result | runs |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(results)) {
		fmt.Fprintf(&text, "| %s | %d |\n", name, results[name])
	}
	for _, reason := range slices.Sorted(maps.Keys(again)) {
		fmt.Fprintf(&text, "| attempts that ended as `%s` and were made again | %d |\n", reason, again[reason])
	}
	text.WriteString("| lost, or not as they had to end | 0 |\n| with two accepted executions | 0 |\n")
	fmt.Fprintf(&text, "| Jobs, inputs, pods still there when the last run had ended | %d, %d, %d |\n", r.left.Jobs, r.left.Secrets, r.left.Pods)
	fmt.Fprintf(&text, "| the same %s later | 0, 0, 0 |\n| slots and holds leaked | 0 |\n", r.cleared.Round(time.Second))
	return text.String()
}

// The table of docs/reliability.md is between these.
const (
	tableBegins = "<!-- the table of make chaos -->\n"
	tableEnds   = "<!-- its end -->\n"
)

// record writes the tables into the documentation, if the environment asks for it.
func (r chaosReport) record(t *testing.T) {
	t.Helper()
	if os.Getenv("AGENTMARKET_CHAOS_RECORD") == "" {
		return
	}
	const file = "../docs/reliability.md"
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(text), tableBegins)
	require.True(t, found, "%s has no table", file)
	_, after, found := strings.Cut(rest, tableEnds)
	require.True(t, found, "the table of %s has no end", file)
	require.NoError(t, os.WriteFile(file, []byte(before+tableBegins+"\n"+r.String()+"\n"+tableEnds+after), 0o644))
}
