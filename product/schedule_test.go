package product_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/money"
	"agentmarket/product"
)

func aSchedule(change func(*product.Schedule)) product.Schedule {
	s := product.Schedule{Name: "Nightly triage", Cron: "0 3 * * *", TimeZone: "Europe/Berlin", Overlap: product.OverlapSkip,
		Budget: money.Of(5_000_000, "USD")}
	if change != nil {
		change(&s)
	}
	return s
}

func requirePointers(t *testing.T, err error, pointers ...string) {
	t.Helper()
	if len(pointers) == 0 {
		require.NoError(t, err)
		return
	}
	require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", err)
	f := fault.From(err)
	require.Equal(t, product.CodeScheduleInvalid, f.Code)
	var got []string
	for _, field := range f.Fields {
		got = append(got, field.Pointer)
	}
	require.Equal(t, pointers, got)
}

func TestScheduleCheck(t *testing.T) {
	type change = func(*product.Schedule)
	for _, tt := range []struct {
		name     string
		change   change
		pointers []string
	}{
		{"good", nil, nil},
		{"no zone is UTC", func(s *product.Schedule) { s.TimeZone = "" }, nil},
		{"no budget", func(s *product.Schedule) { s.Budget = money.Amount{} }, nil},
		{"a long name", func(s *product.Schedule) { s.Name = strings.Repeat("ä", product.MaxScheduleName) }, nil},
		{"a longer name", func(s *product.Schedule) { s.Name = strings.Repeat("ä", product.MaxScheduleName+1) }, []string{"/name"}},
		{"no name", func(s *product.Schedule) { s.Name = "  " }, []string{"/name"}},
		{"two lines", func(s *product.Schedule) { s.Name = "a\nb" }, []string{"/name"}},
		{"a name that shows something else", func(s *product.Schedule) { s.Name = "a\u202eb" }, []string{"/name"}},
		{"no cron", func(s *product.Schedule) { s.Cron = "" }, []string{"/cron"}},
		{"faster than a minute", func(s *product.Schedule) { s.Cron = "@every 10s" }, []string{"/cron"}},
		{"no such zone", func(s *product.Schedule) { s.TimeZone = "Europe/Bonn" }, []string{"/time_zone"}},
		{"a file elsewhere", func(s *product.Schedule) { s.TimeZone = "../../etc/passwd" }, []string{"/time_zone"}},
		{"the zone of a computer", func(s *product.Schedule) { s.TimeZone = "Local" }, []string{"/time_zone"}},
		{"a long zone", func(s *product.Schedule) { s.TimeZone = strings.Repeat("a", 65) }, []string{"/time_zone"}},
		{"an overlap that is none", func(s *product.Schedule) { s.Overlap = "" }, []string{"/overlap"}},
		{"a budget of nothing", func(s *product.Schedule) { s.Budget.Micros = 0 }, []string{"/budget/amount_micros"}},
		{"a long reason", func(s *product.Schedule) { s.PauseReason = strings.Repeat("x", product.MaxPauseReason+1) }, []string{"/pause_reason"}},
		{"everything", func(s *product.Schedule) { *s = product.Schedule{TimeZone: "x"} },
			[]string{"/name", "/cron", "/time_zone", "/overlap"}},
	} {
		t.Run(tt.name, func(t *testing.T) { requirePointers(t, aSchedule(tt.change).Check(), tt.pointers...) })
	}
}

func TestScheduleCheckBackfill(t *testing.T) {
	now := at("2026-03-10T12:00:00Z")
	for _, tt := range []struct {
		name, cron string
		from, to   time.Time
		overlap    product.Overlap
		pointers   []string
	}{
		{"a week", "0 3 * * *", now.AddDate(0, 0, -7), now, product.OverlapAllow, nil},
		{"one moment", "0 3 * * *", at("2026-03-10T02:00:00Z"), at("2026-03-10T02:00:00Z"), product.OverlapSkip, nil},
		{"the future", "0 3 * * *", now.AddDate(0, 0, -7), now.Add(1), product.OverlapAllow, []string{"/to"}},
		{"backwards", "0 3 * * *", now, now.Add(-1), product.OverlapAllow, []string{"/to"}},
		{"more than a year", "0 3 * * *", now.Add(-product.MaxBackfillRange - 1), now, product.OverlapAllow, []string{"/from"}},
		{"a year", "0 3 * * *", now.Add(-product.MaxBackfillRange), now, product.OverlapAllow, nil},
		{"nothing to do", "0 3 * * *", now, now, product.OverlapAllow, []string{"/from"}},
		{"as many as may be", "* * * * *", now.Add(-999 * time.Minute), now, product.OverlapAllow, nil},
		{"too many", "* * * * *", now.Add(-1000 * time.Minute), now, product.OverlapAllow, []string{"/from"}},
		{"an overlap that is none", "0 3 * * *", now.AddDate(0, 0, -7), now, "buffer_all", []string{"/overlap"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := aSchedule(func(s *product.Schedule) { s.Cron = tt.cron })
			requirePointers(t, s.CheckBackfill(tt.from, tt.to, tt.overlap, now), tt.pointers...)
		})
	}
}

func TestBudgetMonth(t *testing.T) {
	require.Equal(t, at("2026-03-01T00:00:00Z"), product.BudgetMonth(at("2026-03-31T23:59:59Z")))
	require.Equal(t, at("2026-03-01T00:00:00Z"), product.BudgetMonth(at("2026-04-01T01:00:00+02:00")), "of UTC")
}
