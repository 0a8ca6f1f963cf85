package marketplace_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/marketplace"
	"agentmarket/money"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func usd(micros int64) money.Amount { return money.Of(micros, "USD") }

// denied requires an error of a kind with a code.
func denied(t *testing.T, err error, kind fault.Kind, code string, about ...any) {
	t.Helper()
	require.Error(t, err, about...)
	require.Equal(t, code, fault.From(err).Code, about...)
	require.Equal(t, kind, fault.KindOf(err), about...)
}

// pointers are the wrong fields of an error, nil of none.
func pointers(t *testing.T, err error) (list []string) {
	t.Helper()
	if err == nil {
		return nil
	}
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	for _, f := range fault.From(err).Fields {
		require.NotEmpty(t, f.Message)
		list = append(list, f.Pointer)
	}
	require.NotEmpty(t, list, "an invalid request names its fields")
	return list
}

func TestOrganizationNames(t *testing.T) {
	for _, good := range []string{"a", "acme", "acme-2", strings.Repeat("a", 40)} {
		_, err := marketplace.NewOrganization(good, now)
		require.NoError(t, err, good)
		_, err = marketplace.NewTeam("org_x", good, now)
		require.NoError(t, err, good)
	}
	for _, bad := range []string{"", "-acme", "acme-", "Acme", "ac me", "acme/x", strings.Repeat("a", 41), "ä", "acme\n"} {
		_, err := marketplace.NewOrganization(bad, now)
		require.Equal(t, []string{"/name"}, pointers(t, err), bad)
		_, err = marketplace.NewTeam("org_x", bad, now)
		require.Equal(t, []string{"/name"}, pointers(t, err), bad)
	}
}

func TestDefaultPolicy(t *testing.T) {
	p := marketplace.DefaultPolicy()
	require.True(t, money.ValidCurrency(p.Currency))
	require.True(t, p.ReviewListings)
	require.Positive(t, p.PriceNotice)
	require.LessOrEqual(t, p.FeeBasisPoints, int64(10_000))
}
