package product

import "time"

// BilledTime is the run time that counts for money: the time of all attempts that
// are charged by their reason, each rounded up to whole seconds. An attempt whose
// process never started counts nothing, nor does one whose end is not known; one
// that started and ended counts a second at least. Of a canceled run nothing
// counts that came after the request to cancel.
func (r Run) BilledTime() time.Duration {
	var sum time.Duration
	for _, a := range r.Attempts {
		if a.StartedAt.IsZero() || a.FinishedAt.IsZero() || !RuleOf(a.Reason).Charged {
			continue
		}
		end := a.FinishedAt
		if r.Cancel != nil && !r.Cancel.SignaledAt.IsZero() && r.Cancel.SignaledAt.Before(end) {
			if end = r.Cancel.SignaledAt; !end.After(a.StartedAt) {
				continue // canceled before it started
			}
		}
		sum += begunSeconds(end.Sub(a.StartedAt))
	}
	return sum
}

// begunSeconds rounds up to whole seconds, to one at least: the clock that starts
// and ends of processes are taken from may have no finer step.
func begunSeconds(d time.Duration) time.Duration {
	return max(time.Second, (d + time.Second - 1).Truncate(time.Second))
}
