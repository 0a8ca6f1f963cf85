package marketplace_test

import (
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/ids"
	"agentmarket/marketplace"
)

func TestNewEntitlement(t *testing.T) {
	e := marketplace.NewEntitlement("org_buyer", "agt_1", grant, now)
	require.True(t, ids.Valid(ids.PrefixEntitlement, string(e.ID)))
	require.Equal(t, marketplace.Entitlement{ID: e.ID, OrgID: "org_buyer", AgentID: "agt_1", Source: grant, CreatedAt: now}, e)
}

func TestUsageOfAMonth(t *testing.T) {
	u := marketplace.Usage{Month: "2026-10", Runs: 3, Seconds: 40, Total: 9, Active: 2}
	require.Equal(t, u, u.In("2026-10"))
	require.Equal(t, marketplace.Usage{Month: "2026-11", Total: 9, Active: 2}, u.In("2026-11"), "runs ever and runs now go on")
	require.Equal(t, marketplace.Usage{Month: "2026-11"}, marketplace.Usage{}.In("2026-11"))
}

func TestMonths(t *testing.T) {
	tokyo := time.FixedZone("Tokyo", 9*3600)
	for _, tc := range []struct {
		at   time.Time
		want marketplace.Month
	}{
		{now, "2026-11"},
		{time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), "2026-12"},
		{time.Date(2026, 12, 1, 0, 0, 0, -1, time.UTC), "2026-11"},
		{time.Date(2027, 1, 1, 8, 59, 0, 0, tokyo), "2026-12"},
	} {
		month := marketplace.MonthOf(tc.at)
		require.Equal(t, tc.want, month)
		from, until, ok := month.Bounds()
		require.True(t, ok)
		require.False(t, tc.at.Before(from))
		require.True(t, tc.at.Before(until))
		require.Equal(t, month, marketplace.MonthOf(from))
		require.NotEqual(t, month, marketplace.MonthOf(until))
		require.Equal(t, month, marketplace.MonthOf(until.Add(-1)))
	}
	from, until, ok := marketplace.Month("2026-12").Bounds()
	require.True(t, ok)
	require.Equal(t, time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), from)
	require.Equal(t, time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), until)
	for _, bad := range []marketplace.Month{"", "2026", "2026-13", "2026-00", "2026-1", "2026-11-01", "26-11", " 2026-11", "2026-11\n"} {
		_, _, ok := bad.Bounds()
		require.False(t, ok, "%q", bad)
	}
}

func TestVersionConstraints(t *testing.T) {
	for _, good := range []string{"", "0", "1", "1.4", "1.4.2", "10.0.123456789"} {
		require.True(t, marketplace.ValidVersions(good), good)
	}
	for _, bad := range []string{".", "1.", ".1", "1..2", "1.4.2.0", "v1", "1.x", "^1", "1.4.2-rc.1", " 1", "1 ", "-1", "01", "1.00", "1234567890", "١"} {
		require.False(t, marketplace.ValidVersions(bad), bad)
	}
	for constraint, numbers := range map[string]map[string]bool{
		"":      {"1.4.2": true, "2.0.0-rc.1": true},
		"1":     {"1.4.2": true, "1.0.0-rc.1": true, "10.0.0": false, "2.1.1": false},
		"1.4":   {"1.4.2": true, "1.4.0-rc.1": true, "1.40.0": false, "1.5.0": false, "11.4.0": false},
		"1.4.2": {"1.4.2": true, "1.4.2-rc.1": true, "1.4.20": false, "1.4.1": false},
	} {
		for number, covered := range numbers {
			s := subject
			s.Version = number
			_, err := claim(nil, right(grant, versions(constraint)), right(free, revoked)).Decide(s, now)
			d, _ := claim(nil, right(grant, versions(constraint))).Decide(s, now)
			require.NoError(t, err)
			require.Equal(t, covered, d.Entitlement.Source == grant, "%s of %s", number, constraint)
		}
	}
	s := subject
	s.Version = "" // a preview is covered by every right
	_, err := claim(priced(marketplace.ModelPerRun), right(grant, versions("7"))).Decide(s, now)
	require.NoError(t, err)
}

func FuzzMulDiv(f *testing.F) {
	f.Add(int64(1), int64(2), int64(3))
	f.Add(int64(1<<62), int64(1<<62), int64(1<<62))
	f.Add(int64(1<<63-1), int64(1<<63-2), int64(1<<63-1))
	f.Fuzz(func(t *testing.T, a, b, c int64) {
		// As it is documented: 0 <= a, 0 <= b <= c, 0 < c.
		a, c = a&(1<<63-1), max(1, c&(1<<63-1))
		b = (b & (1<<63 - 1)) % c
		want := new(big.Int).Mul(big.NewInt(a), big.NewInt(b))
		want.Quo(want, big.NewInt(c))
		if got := marketplace.MulDiv(a, b, c); !want.IsInt64() || want.Int64() != got {
			t.Fatalf("%d * %d / %d is %d and not %s", a, b, c, got, want)
		}
	})
}
