package marketplace_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/money"
)

func limitOf(user ids.User, micros int64) marketplace.SpendLimit {
	l := limit(marketplace.SpendPerUser, micros)
	l.UserID = user
	return l
}

func alertAt(l marketplace.SpendLimit, percent ...int) marketplace.SpendLimit {
	l.AlertAt = percent
	return l
}

func TestSpendLimits(t *testing.T) {
	for name, tc := range map[string]struct {
		limit marketplace.SpendLimit
		wrong []string
	}{
		"a run":            {limit(marketplace.SpendPerRun, 1), nil},
		"a month":          {limit(marketplace.SpendMonthly, money.MaxMicros), nil},
		"everybody":        {limit(marketplace.SpendPerUser, 0), nil},
		"a person":         {limitOf("usr_1", 1), nil},
		"alerts":           {alertAt(limit(marketplace.SpendMonthly, 1), 1, 2, 3, 4, 5, 6, 7, 8, 99, 100), nil},
		"a person's run":   {func() marketplace.SpendLimit { l := limitOf("usr_1", 1); l.Scope = marketplace.SpendPerRun; return l }(), []string{"/user_id"}},
		"no scope":         {limit("", 1), []string{"/scope"}},
		"negative":         {limit(marketplace.SpendMonthly, -1), []string{"/amount/amount_micros"}},
		"too large":        {limit(marketplace.SpendMonthly, money.MaxMicros+1), []string{"/amount/amount_micros"}},
		"no currency":      {marketplace.SpendLimit{Scope: marketplace.SpendMonthly, Amount: money.Amount{Micros: 1}}, []string{"/amount/currency"}},
		"too many alerts":  {alertAt(limit(marketplace.SpendMonthly, 1), slices.Repeat([]int{1}, 11)...), []string{"/alert_at"}},
		"an alert at 0":    {alertAt(limit(marketplace.SpendMonthly, 1), 0), []string{"/alert_at"}},
		"an alert too far": {alertAt(limit(marketplace.SpendMonthly, 1), 50, 101), []string{"/alert_at"}},
		"nothing":          {marketplace.SpendLimit{}, []string{"/scope", "/amount/currency"}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tc.wrong, pointers(t, tc.limit.Check()))
		})
	}
}

func TestCap(t *testing.T) {
	month := limit(marketplace.SpendMonthly, 1)
	for name, tc := range map[string]struct {
		asked  money.Amount
		limits []marketplace.SpendLimit
		want   money.Amount
	}{
		"no limit, nothing asked": {anything, nil, anything},
		"no limit":                {usd(7), nil, usd(7)},
		"of the month only":       {anything, []marketplace.SpendLimit{month}, anything},
		"nothing asked":           {anything, []marketplace.SpendLimit{month, limit(marketplace.SpendPerRun, 5)}, usd(5)},
		"asked for more":          {usd(7), []marketplace.SpendLimit{limit(marketplace.SpendPerRun, 5)}, usd(5)},
		"asked for less":          {usd(3), []marketplace.SpendLimit{limit(marketplace.SpendPerRun, 5)}, usd(3)},
		"asked for nothing":       {usd(0), []marketplace.SpendLimit{limit(marketplace.SpendPerRun, 5)}, usd(0)},
		"a limit of nothing":      {anything, []marketplace.SpendLimit{limit(marketplace.SpendPerRun, 0)}, usd(0)},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tc.want, limited(tc.limits...).Cap(tc.asked))
		})
	}
}

func TestAllow(t *testing.T) {
	everybody, eva := limit(marketplace.SpendPerUser, 100), limitOf("usr_eva", 200)
	month := limit(marketplace.SpendMonthly, 1000)
	spend := func(spent, held int64) marketplace.Spend {
		return marketplace.Spend{Month: "2026-11", Spent: usd(spent), Held: usd(held)}
	}
	for name, tc := range map[string]struct {
		limits    []marketplace.SpendLimit
		org, user marketplace.Spend
		who       ids.User
		amount    int64
		ok        bool
	}{
		"no limits":                     {nil, spend(1<<50, 0), spend(1<<50, 0), "usr_max", 1 << 50, true},
		"nothing":                       {[]marketplace.SpendLimit{month}, spend(5000, 0), spend(0, 0), "usr_max", 0, true},
		"the month, exactly":            {[]marketplace.SpendLimit{month}, spend(500, 400), spend(0, 0), "usr_max", 100, true},
		"the month, one more":           {[]marketplace.SpendLimit{month}, spend(500, 400), spend(0, 0), "usr_max", 101, false},
		"the month, for a program":      {[]marketplace.SpendLimit{month}, spend(500, 400), spend(0, 0), "", 101, false},
		"the month, of a limit of 0":    {[]marketplace.SpendLimit{limit(marketplace.SpendMonthly, 0)}, spend(0, 0), spend(0, 0), "", 1, false},
		"everybody, exactly":            {[]marketplace.SpendLimit{everybody}, spend(1<<50, 0), spend(40, 40), "usr_max", 20, true},
		"everybody, one more":           {[]marketplace.SpendLimit{everybody}, spend(0, 0), spend(40, 40), "usr_max", 21, false},
		"everybody, but no program":     {[]marketplace.SpendLimit{everybody}, spend(0, 0), spend(0, 0), "", 1 << 50, true},
		"her own limit is the wider":    {[]marketplace.SpendLimit{everybody, eva}, spend(0, 0), spend(100, 0), "usr_eva", 100, true},
		"her own limit":                 {[]marketplace.SpendLimit{eva, everybody}, spend(0, 0), spend(100, 0), "usr_eva", 101, false},
		"his is that of everybody":      {[]marketplace.SpendLimit{eva, everybody}, spend(0, 0), spend(100, 0), "usr_max", 1, false},
		"nobody else's":                 {[]marketplace.SpendLimit{eva}, spend(0, 0), spend(500, 0), "usr_max", 1000, true},
		"of a run: not of the month":    {[]marketplace.SpendLimit{limit(marketplace.SpendPerRun, 1)}, spend(0, 0), spend(0, 0), "usr_max", 1000, true},
		"as much as can be, many times": {[]marketplace.SpendLimit{limit(marketplace.SpendMonthly, money.MaxMicros)}, spend(money.MaxMicros, money.MaxMicros), spend(0, 0), "", money.MaxMicros, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := marketplace.Spending{Limits: tc.limits, Org: tc.org, User: tc.user}
			err := s.Allow(usd(tc.amount), tc.who)
			if tc.ok {
				require.NoError(t, err)
				return
			}
			denied(t, err, fault.PaymentRequired, marketplace.CodeSpendLimitReached)
		})
	}
}

func TestCrossed(t *testing.T) {
	month := alertAt(limit(marketplace.SpendMonthly, 1000), 50, 80, 100)
	everybody := alertAt(limit(marketplace.SpendPerUser, 100), 50, 100)
	eva := limitOf("usr_eva", 200)
	eva.AlertAt = []int{90}
	type alert struct {
		scope   marketplace.SpendScope
		user    ids.User
		percent int
	}
	for name, tc := range map[string]struct {
		limits    []marketplace.SpendLimit
		org, user int64
		who       ids.User
		want      []alert
	}{
		"nothing spent":         {[]marketplace.SpendLimit{month, everybody, alertAt(limit(marketplace.SpendMonthly, 0), 50)}, 0, 0, "usr_max", nil},
		"below":                 {[]marketplace.SpendLimit{month}, 499, 0, "", nil},
		"at":                    {[]marketplace.SpendLimit{month}, 500, 0, "", []alert{{marketplace.SpendMonthly, "", 50}}},
		"two at once":           {[]marketplace.SpendLimit{month}, 999, 0, "", []alert{{marketplace.SpendMonthly, "", 50}, {marketplace.SpendMonthly, "", 80}}},
		"all, and more":         {[]marketplace.SpendLimit{month}, 5000, 0, "", []alert{{marketplace.SpendMonthly, "", 50}, {marketplace.SpendMonthly, "", 80}, {marketplace.SpendMonthly, "", 100}}},
		"of one, and of a run":  {[]marketplace.SpendLimit{everybody, alertAt(limit(marketplace.SpendPerRun, 1), 1)}, 60, 60, "usr_max", []alert{{marketplace.SpendPerUser, "usr_max", 50}}},
		"of no program":         {[]marketplace.SpendLimit{everybody}, 500, 0, "", nil},
		"her own, not yet":      {[]marketplace.SpendLimit{everybody, eva}, 179, 179, "usr_eva", nil},
		"her own":               {[]marketplace.SpendLimit{everybody, eva}, 180, 180, "usr_eva", []alert{{marketplace.SpendPerUser, "usr_eva", 90}}},
		"a limit of nothing":    {[]marketplace.SpendLimit{alertAt(limit(marketplace.SpendMonthly, 0), 100)}, 1, 0, "", []alert{{marketplace.SpendMonthly, "", 100}}},
		"as large as can be":    {[]marketplace.SpendLimit{alertAt(limit(marketplace.SpendMonthly, money.MaxMicros), 99, 100)}, money.MaxMicros - 1, 0, "", []alert{{marketplace.SpendMonthly, "", 99}}},
		"without any threshold": {[]marketplace.SpendLimit{limit(marketplace.SpendMonthly, 1)}, 100, 0, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := marketplace.Spending{Limits: tc.limits,
				Org:  marketplace.Spend{Month: "2026-11", Spent: usd(tc.org), Held: usd(1 << 40)},
				User: marketplace.Spend{Month: "2026-11", Spent: usd(tc.user)}}
			var got []alert
			for _, a := range s.Crossed("org_buyer", tc.who, now) {
				require.True(t, ids.Valid(ids.PrefixAlert, string(a.ID)))
				require.Equal(t, ids.Org("org_buyer"), a.OrgID)
				require.Equal(t, marketplace.Month("2026-11"), a.Month)
				require.Equal(t, now, a.At)
				require.Positive(t, a.Spent.Micros)
				got = append(got, alert{a.Scope, a.UserID, a.Percent})
			}
			require.Empty(t, cmp.Diff(tc.want, got, cmp.AllowUnexported(alert{}), cmpopts.EquateEmpty()))
		})
	}
}
