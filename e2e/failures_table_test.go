package e2e

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/product"
)

// The table of docs/failures.md is between these.
const (
	failuresPage   = "../docs/failures.md"
	failuresBegins = "<!-- table: begin -->\n"
	failuresEnds   = "<!-- table: end -->\n"
)

// recording says that what was seen is written down instead of compared: make failures.
func recording() bool { return os.Getenv("AGENTMARKET_FAILURES_RECORD") != "" }

// tableOf is what was seen, in Markdown.
func tableOf(all []*failure) string {
	var text strings.Builder
	text.WriteString("| what was done | `reason` | `cause` | state of the run | retried | charged | `message` |\n|---|---|---|---|---|---|---|\n")
	for _, c := range all {
		reason, message := c.told()
		cause := string(product.RuleOf(product.Reason(reason)).Cause)
		fmt.Fprintf(&text, "| %s | %s | %s | %s | %s | %s | %s |\n",
			c.does, code(reason), cause, c.run.Status, c.retried(), c.cost(), inCell(c.plain(message)))
	}
	return text.String()
}

func (c *failure) retried() string {
	n := len(c.run.Attempts)
	switch {
	case n == 1:
		return "no"
	case c.run.Status == "succeeded":
		return fmt.Sprintf("yes: attempt %d was `ok`", n)
	}
	return fmt.Sprintf("yes: %d attempts", n)
}

func (c *failure) cost() string {
	if c.run.cost() > 0 {
		return "yes"
	}
	return "no"
}

func code(text string) string { return "`" + text + "`" }

// inCell is a message as a cell of a table shows it.
func inCell(message string) string {
	if message == "" {
		return ""
	}
	return code(strings.ReplaceAll(message, "|", "\\|"))
}

// changing are the parts of a message that are others each time, and what the
// documentation has for them. A pull that failed is told in two ways, by turns.
var changing = []struct {
	found *regexp.Regexp
	shown string
}{
	{regexp.MustCompile(`Back-off pulling image "[^"]*": (ErrImagePull: )?`), ""},
	{regexp.MustCompile(`sha256:[0-9a-f]{6,64}`), "sha256:…"},
	{regexp.MustCompile(`run-[0-9a-z]{26}-a\d+(-[0-9a-z]{5})?`), "run-…"},
	{regexp.MustCompile(`run_[0-9a-z]{26}`), "run_…"},
	{regexp.MustCompile(`e2e-[a-z]+`), "…"},
	{regexp.MustCompile(`\s+`), " "},
}

// shownRunes is as much of a message as the documentation shows.
const shownRunes = 160

// plain is a message without what changes from run to run.
func (c *failure) plain(message string) string {
	if message == c.sometimes {
		message = c.message
	}
	for _, part := range changing {
		message = part.found.ReplaceAllString(message, part.shown)
	}
	message = strings.TrimSpace(strings.ReplaceAll(message, "`", "'"))
	if runes := []rune(message); len(runes) > shownRunes {
		message = strings.TrimSpace(string(runes[:shownRunes])) + "…"
	}
	return message
}

// requireInPage: a page has the table that was made of what was seen. With make
// failures it gets it.
func requireInPage(t *testing.T, file, table string) {
	t.Helper()
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(page), failuresBegins)
	require.True(t, found, "%s has no table", file)
	have, after, found := strings.Cut(rest, failuresEnds)
	require.True(t, found, "the table of %s has no end", file)
	if recording() {
		require.NoError(t, os.WriteFile(file, []byte(before+failuresBegins+table+failuresEnds+after), 0o644))
		return
	}
	require.Empty(t, cmp.Diff(strings.Split(have, "\n"), strings.Split(table, "\n")),
		"%s is not what was seen (-documented +seen): after an intended change, make failures, and read the diff", file)
}
