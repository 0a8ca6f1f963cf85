package e2e

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMarketplaceStories runs every command of docs/marketplace.md, in its order,
// as the people of its two stories would.
func TestMarketplaceStories(t *testing.T) {
	beside(t)
	text, err := os.ReadFile("../docs/marketplace.md")
	require.NoError(t, err)
	blocks := shellBlock.FindAllStringSubmatch(string(text), -1)
	require.Len(t, blocks, 11)
	d := startDevstack(t)
	defer d.Stop(t)

	// Each block prints behind its number. Around the denied start everything is
	// counted that a run leaves: the shell does what an operator would do by hand.
	const count = `
echo "jobs: $(kubectl -n agentmarket-runs get jobs -o name | wc -l)"
curl -sS "http://localhost:$TEMPORAL_HTTP_PORT/api/v1/namespaces/$TEMPORAL_NAMESPACE/workflow-count"; echo
`
	var script strings.Builder
	for i, block := range blocks {
		script.WriteString("echo '=== " + string(rune('a'+i)) + "'\n")
		if i == 2 {
			script.WriteString(count)
		}
		script.WriteString(block[1])
		if i == 2 {
			script.WriteString(count)
		}
	}
	out := d.shell(t, script.String())
	parts := map[string]string{}
	for _, part := range strings.Split(out, "=== ")[1:] {
		parts[part[:1]] = part[2:]
	}

	// The buyer.
	require.Contains(t, parts["a"], `"kind":"credit"`)
	require.Contains(t, parts["b"], `"name":"summarize"`, "found by the beginning of a word")
	require.Contains(t, parts["b"], `"code":"payment_required"`, "the estimate says what is missing")
	require.Contains(t, parts["b"], `"maximum":{"amount_micros":250000,"currency":"USD"}`)

	require.Contains(t, parts["c"], `"status":402`)
	require.Contains(t, parts["c"], `"code":"payment_required"`)
	require.Contains(t, parts["c"], `"next":"/v1/orders"`)
	require.Contains(t, parts["c"], `"items":[]`, "no run was stored")
	requireTwice(t, parts["c"], `jobs: \d+`)
	requireTwice(t, parts["c"], `"count": *"?\d+"?`)

	require.Contains(t, parts["d"], `"kind":"usage"`)
	require.Contains(t, parts["d"], `"status":"succeeded"`)
	require.Contains(t, parts["d"], `"cost":{"amount_micros":250000,"currency":"USD"}`)
	require.Contains(t, parts["e"], `"charged":{"amount_micros":250000,"currency":"USD"}`)
	require.Contains(t, parts["e"], `"kind":"charge"`)
	require.Contains(t, parts["e"], `"closing":{"amount_micros":4750000,"currency":"USD"}`)
	require.Contains(t, parts["f"], `"kind":"refund"`)
	require.Contains(t, parts["f"], `"available":{"amount_micros":5000000,"currency":"USD"}`)

	// The publisher.
	require.Contains(t, parts["g"], `"status":"in_review"`)
	require.Contains(t, parts["h"], `Please write a readme.`)
	require.NotContains(t, commentsOf(parts["h"]), "Image looks fine", "internal comments stay with the operators")
	require.Contains(t, parts["h"], `"status":"published"`)
	require.Contains(t, parts["i"], `"kind":"trial"`)
	require.Contains(t, parts["j"], `"widens":true`)
	require.Contains(t, parts["j"], `collect.example.net`)
	require.Contains(t, parts["j"], `"consent_required":true`)
	versions := regexp.MustCompile(`"agent":"examples/butler","version":"(1\.\d\.0)","image_digest"`).FindAllStringSubmatch(parts["j"], -1)
	require.Len(t, versions, 2, parts["j"])
	require.Equal(t, "1.0.0", versions[0][1], "before the consent the old version runs")
	require.Equal(t, "1.1.0", versions[1][1], "after it the new one does")
	require.Equal(t, 2, strings.Count(parts["j"], `"status":"succeeded"`))
	for _, action := range []string{"version.publish", "listing.submit", "listing.reject", "listing.approve", "price.set", "refund"} {
		require.Contains(t, parts["k"], action)
	}
}

func requireTwice(t *testing.T, text, pattern string) {
	t.Helper()
	found := regexp.MustCompile(pattern).FindAllString(text, -1)
	require.Len(t, found, 2, text)
	require.Equal(t, found[0], found[1], "nothing was started")
}

// commentsOf is the answer to the publisher's question for comments, the third of
// its block.
func commentsOf(block string) string {
	var lines []string
	for line := range strings.Lines(block) {
		if strings.TrimSpace(line) != "" {
			lines = append(lines, line)
		}
	}
	return lines[2]
}
