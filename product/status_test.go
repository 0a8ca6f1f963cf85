package product

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/infra"
)

// terminal are the states in which the drawing of doc.go ends.
var terminal = []Status{StatusSucceeded, StatusFailed, StatusTimedOut, StatusBudgetExhausted, StatusCanceled, StatusRejected, StatusExpired}

// TestStatusTable compares the table with the drawing and the sentences below it
// in doc.go.
func TestStatusTable(t *testing.T) {
	own := []Status{StatusSucceeded, StatusFailed, StatusTimedOut, StatusBudgetExhausted}
	want := map[Status][]Status{
		StatusQueued:          {StatusStarting, StatusWaitingApproval, StatusCanceling, StatusCanceled, StatusRejected, StatusExpired, StatusFailed},
		StatusWaitingApproval: {StatusQueued, StatusCanceling, StatusCanceled, StatusRejected, StatusExpired, StatusFailed},
		StatusStarting:        append([]Status{StatusRunning, StatusCanceling, StatusCanceled}, own...),
		StatusRunning:         append([]Status{StatusStarting, StatusCanceling, StatusCanceled}, own...),
		StatusCanceling: append([]Status{StatusCanceled,
			StatusRejected, StatusExpired}, own...), // found out before the cancel arrived
	}
	require.ElementsMatch(t, slices.Collect(keysOf(next)), Statuses(), "every state has a row")
	for _, from := range Statuses() {
		for _, to := range Statuses() {
			err := from.mayBecome(to)
			if slices.Contains(want[from], to) {
				require.NoError(t, err, "%s to %s", from, to)
				continue
			}
			require.Equal(t, fault.Conflict, fault.KindOf(err), "%s to %s", from, to)
			require.Equal(t, "run_state", fault.From(err).Code)
		}
	}
}

func keysOf[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func TestStatusTerminal(t *testing.T) {
	for _, s := range Statuses() {
		require.Equal(t, slices.Contains(terminal, s), s.Terminal(), s)
	}
	require.False(t, Status("of_tomorrow").Terminal(), "an unknown state has not ended")
}

func TestEveryStatusCanEnd(t *testing.T) {
	for _, s := range Statuses() {
		seen := map[Status]bool{}
		var ends func(Status) bool
		ends = func(s Status) bool {
			if s.Terminal() {
				return true
			}
			seen[s] = true
			return slices.ContainsFunc(next[s], func(to Status) bool { return !seen[to] && ends(to) })
		}
		require.True(t, ends(s), "%s has no way to an end", s)
	}
}

func TestReasonTable(t *testing.T) {
	reasons := []Reason{ReasonOK, ReasonDeadline, ReasonPlatformError, ReasonCanceled, ReasonBudgetExhausted,
		ReasonNotEntitled, ReasonPaymentRequired, ReasonPlanInvalid, ReasonQueueTimeout,
		ReasonPolicyDenied, ReasonLimitReached, ReasonApprovalDenied, ReasonApprovalTimeout}
	for _, r := range infra.Reasons() {
		if !slices.Contains(reasons, Reason(r)) {
			reasons = append(reasons, Reason(r))
		}
	}
	require.ElementsMatch(t, reasons, slices.Collect(keysOf(rules)), "one rule for each reason and none besides")

	causes := []Cause{CauseNone, CauseAgent, CauseCaller, CausePublisher, CausePlatform}
	for _, reason := range reasons {
		rule := RuleOf(reason)
		require.True(t, rule.Status.Terminal(), "%s must end a run", reason)
		require.Contains(t, causes, rule.Cause, reason)
		if rule.Cause == CausePlatform {
			require.False(t, rule.Charged, "%s: nobody pays for the platform's faults", reason)
		} else {
			require.False(t, rule.Retry, "%s: only faults of the platform are tried again", reason)
		}
		require.Equal(t, reason == ReasonOK, rule.Status == StatusSucceeded, "%s: only ok is success", reason)
		require.Equal(t, reason == ReasonOK, rule.Cause == CauseNone, "%s: every failure has somebody who can mend it", reason)
		if rule.Status == StatusRejected || rule.Status == StatusExpired {
			require.False(t, rule.Charged || rule.Retry, "%s: nothing ran", reason)
		}
	}
}

func TestUnknownReasonIsThePlatforms(t *testing.T) {
	want := Rule{Status: StatusFailed, Cause: CausePlatform}
	require.Empty(t, cmp.Diff(want, RuleOf("of_tomorrow")))
}
