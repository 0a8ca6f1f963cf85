package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
	"agentmarket/product"
)

// schedule is a schedule as the API would hand it over.
func (w world) schedule(at time.Time) product.Schedule {
	return product.Schedule{
		ID: ids.New[ids.Schedule](ids.PrefixSchedule), OrgID: w.org.ID, KeyID: "key_1", UserID: "usr_1", TeamID: "team_1",
		Name: "Nightly", AgentID: w.agent.ID, Agent: w.agent.FullName(), Version: "stable", Input: []byte(`{"a": 1}`),
		Request: product.Request{RunTimeout: time.Minute, MaxCost: money.Of(500, "USD"), Priority: -3, Attempts: 2},
		Labels:  map[string]string{"team": "blue"}, Cron: "0 3 * * *", TimeZone: "Europe/Berlin", Overlap: product.OverlapBufferOne,
		Budget: money.Of(10_000, "USD"), CreatedAt: at, UpdatedAt: at,
	}
}

// scheduled stores a schedule, and returns it as it comes back.
func (w world) scheduled(t *testing.T, change func(*product.Schedule)) product.Schedule {
	t.Helper()
	s := w.schedule(start)
	if change != nil {
		change(&s)
	}
	require.NoError(t, w.Control.CreateSchedule(t.Context(), actor, s))
	s.CreatedAt, s.UpdatedAt, s.Revision = stored(s.CreatedAt), stored(s.UpdatedAt), 1
	requireSame(t, s, w.load(t, s.ID))
	return s
}

func (w world) load(t *testing.T, id ids.Schedule) product.Schedule {
	t.Helper()
	s, err := w.Control.Schedule(t.Context(), id)
	require.NoError(t, err)
	return s
}

func (w world) reschedule(t *testing.T, id ids.Schedule, change func(*product.Schedule)) product.Schedule {
	t.Helper()
	s, err := w.Control.UpdateSchedule(t.Context(), actor, w.org.ID, id, func(s *product.Schedule) error {
		change(s)
		return nil
	})
	require.NoError(t, err)
	requireSame(t, s, w.load(t, id))
	return s
}

// due claims the schedules that are due, by identifier.
func (w world) due(t *testing.T, at time.Time) []ids.Schedule {
	t.Helper()
	found, err := w.Control.DueSchedules(t.Context(), at, lease, 100)
	require.NoError(t, err)
	return scheduleIDs(found)
}

func (w world) told(t *testing.T, seen product.Schedule) {
	t.Helper()
	require.NoError(t, w.Control.ScheduleDispatched(t.Context(), seen))
}

func scheduleIDs(schedules []product.Schedule) []ids.Schedule {
	var list []ids.Schedule
	for _, s := range schedules {
		list = append(list, s.ID)
	}
	return list
}

const (
	scheduleAudit = `"name":"Nightly","key_id":"key_1","user_id":"usr_1","agent":"acme/reviewer","version":"stable",` +
		`"request":{"run_timeout_ns":60000000000,"max_cost":{"micros":500,"currency":"USD"},"attempts":2,"priority":-3},` +
		`"time_zone":"Europe/Berlin","overlap":"buffer_one","budget":{"micros":10000,"currency":"USD"},`
	scheduleAudit1 = `{` + scheduleAudit + `"cron":"0 3 * * *","revision":1}`
	scheduleAudit2 = `{` + scheduleAudit + `"cron":"@daily","revision":2}`
	scheduleAudit3 = `{` + scheduleAudit + `"cron":"@daily","paused":true,"pause_reason":"holidays","revision":3}`
	scheduleAudit4 = `{` + scheduleAudit + `"cron":"@daily","revision":4}`
	scheduleAsked  = `"asked":{"from":"2026-03-01T07:30:15.123456Z","to":"2026-03-01T08:30:15.123456Z","overlap":"allow"}`
)

var scheduleTests = []testCase{
	{"what is stored is found, changed and gone", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		one := w.scheduled(t, nil)
		w.scheduled(t, func(s *product.Schedule) {
			s.KeyID, s.UserID, s.TeamID, s.Version, s.TimeZone, s.Labels, s.Budget = "", "", "", "", "", nil, money.Amount{}
			s.Request, s.Paused, s.PauseReason = product.Request{}, true, "not yet"
		})

		two := w.reschedule(t, one.ID, func(s *product.Schedule) {
			s.Cron, s.Input, s.UpdatedAt = "@daily", []byte(`{}`), after(time.Minute)
			s.ID, s.OrgID, s.CreatedAt, s.Revision = "sch_x", "org_x", after(time.Hour), 70 // what no change may touch
		})
		one.Cron, one.Input, one.UpdatedAt, one.Revision = "@daily", []byte(`{}`), stored(after(time.Minute)), 2
		requireSame(t, one, two)
		w.reschedule(t, one.ID, func(s *product.Schedule) { s.Pause("holidays", after(2*time.Minute)) })
		four := w.reschedule(t, one.ID, func(s *product.Schedule) { s.Resume(after(3 * time.Minute)) })
		require.Equal(t, int64(4), four.Revision)
		requireSame(t, four, w.reschedule(t, one.ID, func(s *product.Schedule) { s.Resume(after(time.Hour)) }))

		no := errors.New("no")
		_, err := s.Control.UpdateSchedule(t.Context(), actor, w.org.ID, one.ID, func(*product.Schedule) error { return no })
		require.Equal(t, no, err, "as it is")

		require.NoError(t, s.Control.DeleteSchedule(t.Context(), actor, w.org.ID, one.ID, after(time.Hour)))
		requireAudit(t, s, w.org.ID, string(one.ID),
			entry{"schedule.create", "", scheduleAudit1},
			entry{"schedule.update", scheduleAudit1, scheduleAudit2},
			entry{"schedule.pause", scheduleAudit2, scheduleAudit3},
			entry{"schedule.resume", scheduleAudit3, scheduleAudit4},
			entry{"schedule.delete", scheduleAudit4, ""})
	}},
	{"what does not exist is not found", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		other := anOrganization(t, s, "other")
		there, gone := w.scheduled(t, nil), w.scheduled(t, nil)
		require.NoError(t, s.Control.DeleteSchedule(t.Context(), actor, w.org.ID, gone.ID, after(time.Hour)))
		untouched := func(*product.Schedule) error { panic("must not be asked") }
		for _, of := range []struct {
			org ids.Org
			id  ids.Schedule
		}{{w.org.ID, "sch_none"}, {w.org.ID, gone.ID}, {other.ID, there.ID}} {
			_, err := s.Control.UpdateSchedule(t.Context(), actor, of.org, of.id, untouched)
			requireFault(t, err, fault.NotFound, "schedule_not_found")
			requireFault(t, s.Control.DeleteSchedule(t.Context(), actor, of.org, of.id, start), fault.NotFound, "schedule_not_found")
		}
		for _, id := range []ids.Schedule{"sch_none", gone.ID} {
			_, err := s.Control.Schedule(t.Context(), id)
			requireFault(t, err, fault.NotFound, "schedule_not_found")
		}
		requireSame(t, there, w.load(t, there.ID))
		nobody := w.schedule(start)
		nobody.OrgID = "org_none"
		requireFault(t, s.Control.CreateSchedule(t.Context(), actor, nobody), fault.NotFound, "organization_not_found")
	}},
	{"they are listed newest first, by pages, without inputs", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		other := w
		other.org = anOrganization(t, s, "other")
		var want []ids.Schedule
		for range 4 {
			other.scheduled(t, nil)
			want = append([]ids.Schedule{w.scheduled(t, nil).ID}, want...)
		}
		require.NoError(t, s.Control.DeleteSchedule(t.Context(), actor, w.org.ID, want[1], start))
		want = append(want[:1], want[2:]...)
		page := func(before ids.Schedule, limit int) []product.Schedule {
			list, err := s.Control.Schedules(t.Context(), w.org.ID, before, limit)
			require.NoError(t, err)
			return list
		}
		first := w.load(t, want[0])
		first.Input = nil
		requireSame(t, first, page("", 1)[0])
		require.Equal(t, want[:2], scheduleIDs(page("", 2)))
		require.Equal(t, want[2:], scheduleIDs(page(want[1], 2)))
		require.Equal(t, want, scheduleIDs(page("", 0)))
	}},
	{"a skipped start is no change", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		sch := w.scheduled(t, nil)
		w.told(t, sch)
		skip := product.Skip{ScheduledAt: after(time.Hour), At: after(2 * time.Hour), Code: "payment_required", Reason: "no \x00 money"}
		got := w.reschedule(t, sch.ID, func(s *product.Schedule) { s.LastSkip, s.UpdatedAt = &skip, after(2*time.Hour) })
		skip.ScheduledAt, skip.At, skip.Reason = stored(skip.ScheduledAt), stored(skip.At), "no \uFFFD money"
		sch.LastSkip = &skip
		requireSame(t, sch, got)
		require.Empty(t, w.due(t, after(24*time.Hour)))
		require.Equal(t, []string{"schedule.create " + string(sch.ID)}, actions(t, s, w.org.ID, auditOf(string(sch.ID))))
	}},
	{"starts that were asked for are in the audit log", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		sch := w.scheduled(t, nil)
		w.told(t, sch)
		asked := product.Asked{From: start.Add(-time.Hour), To: start, Overlap: product.OverlapAllow}
		again := w.reschedule(t, sch.ID, func(s *product.Schedule) { s.Asked, s.UpdatedAt = &product.Asked{}, after(time.Minute) })
		requireSame(t, sch, again)
		again = w.reschedule(t, sch.ID, func(s *product.Schedule) { s.Asked, s.UpdatedAt = &asked, after(2*time.Minute) })
		requireSame(t, sch, again)
		require.Empty(t, w.due(t, after(24*time.Hour)), "the schedule is the same")

		taken := w.reschedule(t, sch.ID, func(s *product.Schedule) {
			s.Asked, s.UserID, s.UpdatedAt = &asked, "usr_2", after(3*time.Minute)
		})
		require.Equal(t, int64(2), taken.Revision)
		requireSame(t, taken, w.load(t, sch.ID))
		require.Equal(t, []ids.Schedule{sch.ID}, w.due(t, after(24*time.Hour)))

		same := `{` + scheduleAudit + `"cron":"0 3 * * *","revision":1}`
		requireAudit(t, s, w.org.ID, string(sch.ID),
			entry{"schedule.create", "", same},
			entry{"schedule.trigger", same, same},
			entry{"schedule.backfill", same, `{` + scheduleAudit + `"cron":"0 3 * * *","revision":1,` + scheduleAsked + `}`},
			entry{"schedule.backfill", same, strings.Replace(`{`+scheduleAudit+`"cron":"0 3 * * *","revision":2,`+scheduleAsked+`}`, "usr_1", "usr_2", 1)})
	}},
	{"an organization has so many", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		for range product.MaxSchedules - 1 {
			require.NoError(t, s.Control.CreateSchedule(t.Context(), actor, w.schedule(start)))
		}
		errs := make([]error, 4)
		together(len(errs), func(i int) { errs[i] = s.Control.CreateSchedule(t.Context(), actor, w.schedule(start)) })
		require.Equal(t, tally{passed: 1, denied: 3}, count("too_many_schedules", errs))
		list, err := s.Control.Schedules(t.Context(), w.org.ID, "", 1)
		require.NoError(t, err)
		require.NoError(t, s.Control.DeleteSchedule(t.Context(), actor, w.org.ID, list[0].ID, start))
		require.NoError(t, s.Control.CreateSchedule(t.Context(), actor, w.schedule(start)))
	}},
}

var scheduleDispatchTests = []testCase{
	{"a change is due a moment later, then after each lease", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		sch := w.scheduled(t, nil)
		require.Empty(t, w.due(t, start), "the process that stored it goes first")
		claimed, err := s.Control.DueSchedules(t.Context(), after(soon), lease, 100)
		require.NoError(t, err)
		require.Len(t, claimed, 1)
		seen := sch
		seen.Input = nil
		requireSame(t, seen, claimed[0])
		require.Empty(t, w.due(t, after(soon+lease-time.Microsecond)))
		require.Len(t, w.due(t, after(soon+lease)), 1)
		w.told(t, sch)
		w.told(t, sch)
		require.Empty(t, w.due(t, after(time.Hour)))

		second := w.reschedule(t, sch.ID, func(s *product.Schedule) { s.Cron, s.UpdatedAt = "@daily", after(time.Hour) })
		require.Empty(t, w.due(t, after(time.Hour)))
		require.Len(t, w.due(t, after(time.Hour+soon)), 1)
		w.told(t, second)

		require.NoError(t, s.Control.DeleteSchedule(t.Context(), actor, w.org.ID, sch.ID, after(2*time.Hour)))
		claimed, err = s.Control.DueSchedules(t.Context(), after(3*time.Hour), lease, 100)
		require.NoError(t, err)
		require.Len(t, claimed, 1)
		require.True(t, claimed[0].Deleted)
		w.told(t, claimed[0])
		require.Empty(t, w.due(t, after(5*time.Hour)))
	}},
	{"a change does not cut a lease short", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		sch := w.scheduled(t, nil)
		require.Len(t, w.due(t, after(soon)), 1)
		w.reschedule(t, sch.ID, func(s *product.Schedule) { s.Cron, s.UpdatedAt = "@daily", after(soon) })
		require.Empty(t, w.due(t, after(soon+lease-time.Second)))
		require.Len(t, w.due(t, after(soon+lease)), 1)
	}},
	{"who told of an older revision tells again", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		first := w.scheduled(t, nil)
		second := w.reschedule(t, first.ID, func(s *product.Schedule) { s.Cron, s.UpdatedAt = "@daily", after(time.Second) })
		w.told(t, first)
		require.Len(t, w.due(t, after(soon)), 1, "the second was not told")
		w.told(t, second)
		require.Empty(t, w.due(t, after(2*time.Hour)))
		w.told(t, first)
		require.Len(t, w.due(t, after(2*time.Hour)), 1, "the first may have been told after the second")
	}},
	{"oldest first, up to the limit", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		var want []ids.Schedule
		for i := range 3 {
			want = append(want, w.scheduled(t, func(s *product.Schedule) { s.CreatedAt = after(time.Duration(i) * time.Second) }).ID)
		}
		for _, part := range [][]ids.Schedule{want[:2], want[2:], nil} {
			got, err := s.Control.DueSchedules(t.Context(), after(time.Minute), lease, 2)
			require.NoError(t, err)
			require.Equal(t, part, scheduleIDs(got))
		}
		none, err := s.Control.DueSchedules(t.Context(), after(time.Hour), lease, 0)
		require.NoError(t, err)
		require.Empty(t, none)
	}},
}

// of makes a run one of a schedule, with an identifier of the time of its creation.
func of(s product.Schedule) func(*product.Run) {
	return func(r *product.Run) {
		const moment = len(ids.PrefixRun) + len("_") + 10
		r.ID = ids.Earliest[ids.Run](ids.PrefixRun, r.CreatedAt)[:moment] + r.ID[moment:]
		r.Origin = product.Origin{Kind: product.OriginSchedule, ScheduleID: s.ID}
	}
}

func (m market) spent(t *testing.T, s product.Schedule, month time.Time) int64 {
	t.Helper()
	micros, err := m.Control.ScheduleSpend(t.Context(), s.ID, month)
	require.NoError(t, err)
	return micros
}

var scheduleRunTests = []testCase{
	{"a run counts with what it may cost, then with what it did", func(t *testing.T, s Stores) {
		m := bought(t, s, 100_000, perSecond(10))
		m.limit(t, marketplace.SpendPerRun, "", 500)
		w := world{s, m.buyer, m.agent, m.version}
		sch, other := w.scheduled(t, nil), w.scheduled(t, nil)
		require.Zero(t, m.spent(t, sch, start))

		run := m.run(t, func(r *product.Run) {
			of(sch)(r)
			r.Request.MaxCost = usd(900)
		})
		m.run(t, of(other))
		m.run(t, nil)
		require.Equal(t, int64(900), m.spent(t, sch, start))
		_, err := m.admit(t, run.ID, start)
		require.NoError(t, err)
		require.Equal(t, int64(500), m.spent(t, sch, start), "what is held")
		m.settled(t, run.ID, product.ReasonOK, 3*time.Second, after(time.Hour))
		require.Equal(t, int64(30), m.spent(t, sch, start))
		require.Zero(t, m.spent(t, other, start), "a run without a bound of its own counts when it is admitted")

		list, err := s.Runs.Runs(t.Context(), m.buyer.ID, product.RunQuery{ScheduleID: sch.ID})
		require.NoError(t, err)
		require.Equal(t, []ids.Run{run.ID}, runIDs(list))
		require.Equal(t, sch.ID, list[0].Origin.ScheduleID)
		list, err = s.Runs.Runs(t.Context(), m.publisher.ID, product.RunQuery{ScheduleID: sch.ID})
		require.NoError(t, err)
		require.Empty(t, list, "of another organization")
	}},
	{"no run is admitted beyond the budget", func(t *testing.T, s Stores) {
		m := bought(t, s, 100_000, perSecond(10))
		m.limit(t, marketplace.SpendPerRun, "", 500)
		w := world{s, m.buyer, m.agent, m.version}
		sch := w.scheduled(t, func(s *product.Schedule) { s.Budget = usd(1_200) })
		errs := make([]error, 4)
		var runs []product.Run
		for range errs { // nothing was to be paid when they were created
			runs = append(runs, m.run(t, of(sch)))
		}
		together(len(errs), func(i int) { _, errs[i] = m.admit(t, runs[i].ID, start) })
		require.Equal(t, tally{passed: 2, denied: 2}, count(product.CodeScheduleBudget, errs))
		require.Equal(t, int64(1_000), m.spent(t, sch, start))
	}},
	{"a run counts in the month that it was created in", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		sch := w.scheduled(t, nil)
		begin := product.BudgetMonth(start)
		for i, at := range []time.Time{begin.Add(-time.Millisecond), begin, begin.Add(time.Hour), begin.AddDate(0, 1, 0)} {
			run := w.queued(at)
			of(sch)(&run)
			run.ID, run.Request.MaxCost = ids.Earliest[ids.Run](ids.PrefixRun, at), usd(1<<i)
			w.create(t, run)
		}
		micros, err := s.Control.ScheduleSpend(t.Context(), sch.ID, begin.Add(time.Minute))
		require.NoError(t, err)
		require.Equal(t, int64(6), micros)
	}},
	{"no run is made beyond the budget", func(t *testing.T, s Stores) {
		w := newWorld(t, s)
		sch := w.scheduled(t, func(s *product.Schedule) { s.Budget = usd(1_000) })
		free := w.scheduled(t, func(s *product.Schedule) { s.Budget = money.Amount{} })
		make1 := func(s product.Schedule, most int64, key string) error {
			run := w.queued(start)
			of(s)(&run)
			run.Request.MaxCost = usd(most)
			_, _, err := w.Runs.CreateRun(t.Context(), run, nil, &product.IdempotencyKey{Key: key, Fingerprint: "f"})
			return err
		}
		errs := make([]error, 12)
		together(len(errs), func(i int) { errs[i] = make1(sch, 300, fmt.Sprint("key-", i)) })
		require.Equal(t, tally{passed: 3, denied: 9}, count(product.CodeScheduleBudget, errs))
		requireFault(t, make1(sch, 101, "more"), fault.PaymentRequired, product.CodeScheduleBudget)
		require.NoError(t, make1(sch, 100, "more"), "the key is not used up by what was refused")
		requireFault(t, make1(sch, 0, "nothing"), fault.PaymentRequired, product.CodeScheduleBudget)
		require.NoError(t, make1(sch, 100, "more"), "made before")
		require.NoError(t, make1(free, 1<<40, "free"))
	}},
}

// fillSchedules uses every method of the store of schedules.
func (w world) fillSchedules(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	sch, gone := w.scheduled(t, nil), w.scheduled(t, nil)
	for _, before := range []ids.Schedule{"", sch.ID} {
		_, err := w.Control.Schedules(ctx, w.org.ID, before, 10)
		require.NoError(t, err)
	}
	seen := w.reschedule(t, sch.ID, func(s *product.Schedule) { s.Pause("holidays", after(time.Minute)) })
	w.reschedule(t, sch.ID, func(s *product.Schedule) { s.LastSkip = &product.Skip{At: start, Reason: "no money"} })
	require.NoError(t, w.Control.DeleteSchedule(ctx, actor, w.org.ID, gone.ID, after(time.Minute)))
	w.due(t, after(soon))
	w.told(t, seen)
	run := w.queued(start)
	of(sch)(&run)
	w.create(t, run)
	_, err := w.Control.ScheduleSpend(ctx, sch.ID, start)
	require.NoError(t, err)
	_, err = w.Runs.Runs(ctx, w.org.ID, product.RunQuery{ScheduleID: sch.ID, Limit: 10})
	require.NoError(t, err)
}
