package marketplace_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/marketplace"
	"agentmarket/money"
)

func TestRenewedUntil(t *testing.T) {
	day := func(month time.Month, day int) time.Time { return time.Date(2026, month, day, 9, 30, 15, 0, time.UTC) }
	for name, c := range map[string]struct{ created, ends, now, want time.Time }{
		"in time":                           {day(1, 15), day(2, 15), day(2, 15), day(3, 15)},
		"a few hours late":                  {day(1, 15), day(2, 15), day(2, 15).Add(20 * time.Hour), day(3, 15)},
		"a day late":                        {day(1, 15), day(2, 15), day(2, 16), day(3, 15)},
		"later than a day: it begins now":   {day(1, 15), day(2, 15), day(2, 17), day(3, 17)},
		"months late: one month, from now":  {day(1, 15), day(2, 15), day(6, 20), day(7, 20)},
		"the day of a late renewal is kept": {day(1, 15), day(7, 20), day(7, 20), day(8, 20)},
		"a short month":                     {day(1, 31), day(1, 31), day(1, 31), day(2, 28)},
		"goes back to the 31st":             {day(1, 31), day(2, 28), day(2, 28), day(3, 31)},
		"and to the 30th":                   {day(1, 31), day(3, 31), day(3, 31), day(4, 30)},
		"over the year":                     {day(1, 15), day(12, 15), day(12, 15), day(13, 15)},
		"late at the end of a short month":  {day(1, 15), day(2, 15), day(2, 28), day(3, 28)},
	} {
		t.Run(name, func(t *testing.T) {
			e := marketplace.Entitlement{Source: marketplace.SourceSubscription, Renews: true, CreatedAt: c.created, ExpiresAt: c.ends}
			p := marketplace.Price{ID: "prc_2", Currency: "USD", Model: marketplace.ModelSubscription, Monthly: 30, IncludedRuns: 7}
			got, amount, ok := e.Renewed(&p, marketplace.ListingDeprecated, c.now)
			require.True(t, ok)
			require.Equal(t, money.Of(30, "USD"), amount)
			e.ExpiresAt, e.PriceID, e.Limits.Included, e.Limits.Runs = c.want, p.ID, 7, 7
			require.Equal(t, e, got)
		})
	}
}

// A subscription whose renewal is late, however much, is renewed or ended by it:
// one more beside it would be paid twice.
func TestLateSubscriptionIsNotOrderedAgain(t *testing.T) {
	late := right(subscription, func(r *marketplace.Right) { r.ExpiresAt = now.AddDate(0, -2, 0) })
	_, err := claim(priced(marketplace.ModelSubscription), late).Buy("acme/a", marketplace.OrderSubscription, "key_1", now)
	denied(t, err, fault.Conflict, "order_exists")
	late.Renews = false
	_, err = claim(priced(marketplace.ModelSubscription), late).Buy("acme/a", marketplace.OrderSubscription, "key_1", now)
	require.NoError(t, err)
}
