package product

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEveryReasonIsExplained: docs/failures.md has every reason, with what follows
// from it.
func TestEveryReasonIsExplained(t *testing.T) {
	page, err := os.ReadFile("../docs/failures.md")
	require.NoError(t, err)
	yes := map[bool]string{true: "yes", false: "no"}
	for reason, rule := range rules {
		cause := ""
		if rule.Cause != CauseNone {
			cause = string(rule.Cause) + " "
		}
		row := fmt.Sprintf("\n| `%s` | %s | %s| %s | %s | ", reason, rule.Status, cause, yes[rule.Retry], yes[rule.Charged])
		require.Contains(t, string(page), row)
	}
}
