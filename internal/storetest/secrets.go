package storetest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/marketplace"
)

var secretTests = []testCase{
	{"a secret is written, replaced, listed without its value, and removed", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		first := marketplace.Secret{OrgID: m.buyer.ID, Name: "TOKEN", Sealed: []byte{0, 1, 255}, UpdatedAt: start}
		got, err := s.Marketplace.PutSecret(t.Context(), actor, first)
		require.NoError(t, err)
		want := first
		want.Version, want.CreatedAt, want.UpdatedAt = 1, stored(start), stored(start)
		requireSame(t, want, got)
		next := first
		next.Sealed, next.UpdatedAt = []byte{2}, after(1)
		got, err = s.Marketplace.PutSecret(t.Context(), actor, next)
		require.NoError(t, err)
		require.EqualValues(t, 2, got.Version)
		requireSame(t, stored(start), got.CreatedAt)
		got, err = s.Marketplace.Secret(t.Context(), m.buyer.ID, "TOKEN")
		require.NoError(t, err)
		require.Equal(t, []byte{2}, got.Sealed)
		_, err = s.Marketplace.PutSecret(t.Context(), actor, marketplace.Secret{OrgID: m.buyer.ID, Name: "KEY", Sealed: []byte{3}, UpdatedAt: start})
		require.NoError(t, err)

		list, err := s.Marketplace.Secrets(t.Context(), m.buyer.ID)
		require.NoError(t, err)
		require.Len(t, list, 2)
		require.Equal(t, []string{"KEY", "TOKEN"}, []string{list[0].Name, list[1].Name})
		require.Empty(t, list[0].Sealed)
		list, err = s.Marketplace.Secrets(t.Context(), m.publisher.ID)
		require.NoError(t, err)
		require.Empty(t, list)
		_, err = s.Marketplace.Secret(t.Context(), m.publisher.ID, "TOKEN")
		requireFault(t, err, fault.NotFound, "secret_not_found")

		require.NoError(t, s.Marketplace.DeleteSecret(t.Context(), actor, m.buyer.ID, "TOKEN", after(2)))
		requireFault(t, s.Marketplace.DeleteSecret(t.Context(), actor, m.buyer.ID, "TOKEN", after(2)), fault.NotFound, "secret_not_found")
		_, err = s.Marketplace.Secret(t.Context(), m.buyer.ID, "TOKEN")
		requireFault(t, err, fault.NotFound, "secret_not_found")
	}},
	{"secrets of all are sealed anew, a page at a time", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		for _, secret := range []marketplace.Secret{
			{OrgID: m.buyer.ID, Name: "A"}, {OrgID: m.buyer.ID, Name: "B"}, {OrgID: m.publisher.ID, Name: "A"},
		} {
			secret.Sealed, secret.UpdatedAt = []byte("old"), start
			_, err := s.Marketplace.PutSecret(t.Context(), actor, secret)
			require.NoError(t, err)
		}
		var all []marketplace.Secret
		for last := (marketplace.Secret{}); ; last = all[len(all)-1] {
			page, err := s.Marketplace.SealedSecrets(t.Context(), last, 2)
			require.NoError(t, err)
			if all = append(all, page...); len(page) == 0 {
				break
			}
		}
		require.Len(t, all, 3)
		done, err := s.Marketplace.ResealSecret(t.Context(), all[0], []byte("new"))
		require.NoError(t, err)
		require.True(t, done)
		want := all[0]
		want.Sealed = []byte("new")
		got, err := s.Marketplace.Secret(t.Context(), want.OrgID, want.Name)
		require.NoError(t, err)
		requireSame(t, want, got)

		// Whoever wrote a new value meanwhile keeps it.
		next := all[1]
		next.Sealed = []byte("newer")
		_, err = s.Marketplace.PutSecret(t.Context(), actor, next)
		require.NoError(t, err)
		done, err = s.Marketplace.ResealSecret(t.Context(), all[1], []byte("new"))
		require.NoError(t, err)
		require.False(t, done)
		got, err = s.Marketplace.Secret(t.Context(), next.OrgID, next.Name)
		require.NoError(t, err)
		require.Equal(t, []byte("newer"), got.Sealed)

		// Also whoever removed it before, so that it counts from 1 again.
		again := want
		require.NoError(t, s.Marketplace.DeleteSecret(t.Context(), actor, again.OrgID, again.Name, start))
		again.Sealed = []byte("again")
		_, err = s.Marketplace.PutSecret(t.Context(), actor, again)
		require.NoError(t, err)
		done, err = s.Marketplace.ResealSecret(t.Context(), want, []byte("old value"))
		require.NoError(t, err)
		require.False(t, done)
	}},
	{"an organization has so many", func(t *testing.T, s Stores) {
		m := newMarket(t, s)
		errs := make([]error, marketplace.MaxSecrets+5)
		together(len(errs), func(i int) {
			_, errs[i] = s.Marketplace.PutSecret(t.Context(), actor, marketplace.Secret{
				OrgID: m.buyer.ID, Name: fmt.Sprintf("S%d", i), Sealed: []byte{1}, UpdatedAt: start,
			})
		})
		require.Equal(t, tally{passed: marketplace.MaxSecrets, denied: 5}, count("too_many_secrets", errs))
	}},
}

func fillSecrets(t *testing.T, s Stores, n int, org marketplace.Organization) {
	t.Helper()
	ctx := t.Context()
	for i := range n + 1 {
		secret := marketplace.Secret{OrgID: org.ID, Name: fmt.Sprintf("S%d", i), Sealed: []byte{1}, UpdatedAt: start}
		for range 2 {
			_, err := s.Marketplace.PutSecret(ctx, actor, secret)
			require.NoError(t, err)
		}
	}
	_, err := s.Marketplace.Secrets(ctx, org.ID)
	require.NoError(t, err)
	secret, err := s.Marketplace.Secret(ctx, org.ID, "S0")
	require.NoError(t, err)
	_, err = s.Marketplace.SealedSecrets(ctx, marketplace.Secret{}, 10)
	require.NoError(t, err)
	_, err = s.Marketplace.ResealSecret(ctx, secret, []byte{2})
	require.NoError(t, err)
	require.NoError(t, s.Marketplace.DeleteSecret(ctx, actor, org.ID, "S0", start))
}
