package marketplace_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// release is a version that asks for hosts.
func release(number string, hosts ...string) product.Version {
	return product.Version{ID: ids.Version("ver_" + number), Number: number, Manifest: agentruntime.Manifest{
		Resources: agentruntime.DefaultResources(), Timeouts: agentruntime.DefaultTimeouts(), Egress: hosts,
	}}
}

func TestNext(t *testing.T) {
	one, modest := release("1.0.0", "a.example.com"), release("0.9.0")
	wider := release("2.0.0", "a.example.com", "b.example.com")
	heavier := release("1.2.0", "a.example.com")
	heavier.Manifest.Resources.MemoryMiB *= 2
	fresh := func() marketplace.Installation { return marketplace.NewInstallation("org_buyer", "agt_1", now) }
	consented := func(v product.Version) marketplace.Installation {
		i := fresh()
		i.Consent(v, "usr_1", now)
		return i
	}
	pinned := func(i marketplace.Installation, v product.Version) marketplace.Installation {
		i.Pin(v, now)
		return i
	}
	for name, tc := range map[string]struct {
		installed marketplace.Installation
		head      product.Version
		runs      string // afterwards
		waits     string // the update that needs a consent
		egress    []string
	}{
		"new, asks for nothing":         {fresh(), modest, "0.9.0", "", nil},
		"new, asks for a host":          {fresh(), one, "", "1.0.0", []string{"a.example.com"}},
		"agreed":                        {consented(one), one, "1.0.0", "", nil},
		"agreed, the same hosts":        {consented(one), release("1.1.0", "a.example.com"), "1.1.0", "", nil},
		"agreed, fewer hosts":           {consented(one), modest, "0.9.0", "", nil},
		"agreed, one more host":         {consented(one), wider, "1.0.0", "2.0.0", []string{"b.example.com"}},
		"agreed, more memory":           {consented(one), heavier, "1.0.0", "1.2.0", nil},
		"agreed, a smaller host of one": {consented(release("1.0.0", "*.example.com")), wider, "2.0.0", "", nil},
		"pinned":                        {pinned(consented(one), one), release("1.1.0", "a.example.com"), "1.0.0", "", nil},
		"pinned, one more host":         {pinned(consented(one), one), wider, "1.0.0", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			i, before := tc.installed, tc.installed
			update, moved := i.Next(tc.head, later)
			require.Equal(t, tc.runs, i.Version)
			require.Equal(t, before.VersionID != i.VersionID, moved)
			if !moved {
				require.Empty(t, cmp.Diff(before, i), "what does not move is not touched")
			}
			if tc.waits == "" {
				require.Nil(t, update)
				return
			}
			require.Equal(t, tc.waits, update.Version)
			require.Equal(t, tc.egress, update.Change.EgressAdded)
			require.True(t, update.Change.Widens())

			// The consent is what the update waited for.
			i.Consent(tc.head, "usr_1", later)
			update, moved = i.Next(tc.head, later)
			require.Nil(t, update)
			require.False(t, moved)
			require.Equal(t, tc.waits, i.Version)
		})
	}
}

func TestFollowAndPin(t *testing.T) {
	i := marketplace.NewInstallation("org_buyer", "agt_1", now)
	require.Equal(t, product.ChannelStable, i.Channel)
	require.False(t, i.Pinned())
	require.NoError(t, i.Follow("beta", later))
	require.Equal(t, "beta", i.Channel)
	require.Equal(t, later, i.UpdatedAt)
	for _, bad := range []string{"", "latest", "1.0.0", "Beta", "be ta"} {
		require.Equal(t, []string{"/channel"}, pointers(t, i.Follow(bad, now)), bad)
		require.Equal(t, "beta", i.Channel)
	}
	i.Pin(release("1.0.0"), now)
	require.True(t, i.Pinned())
	require.Equal(t, "1.0.0", i.Version)
	require.NoError(t, i.Follow("stable", later))
	require.False(t, i.Pinned())
	require.Equal(t, "1.0.0", i.Version, "until the channel says otherwise")
}

// A consent is to one version; what is agreed to beside it adds to it.
func TestConsentAndAgree(t *testing.T) {
	i := marketplace.NewInstallation("org_buyer", "agt_1", now)
	a, b := release("1.0.0", "a.example.com"), release("2.0.0", "b.example.com")
	asks := func(v product.Version) product.Permissions { return product.PermissionsOf(v.Manifest) }
	require.False(t, i.Agrees(asks(a)))
	require.True(t, i.Agrees(asks(release("0.9.0"))))

	i.Consent(a, "usr_1", later)
	require.Equal(t, "1.0.0", i.Version)
	require.Equal(t, "usr_1", i.ConsentedBy)
	require.Equal(t, later, i.ConsentedAt)
	require.True(t, i.Agrees(asks(a)))
	require.False(t, i.Agrees(asks(b)))

	i.Agree(b, asks(a), "usr_2", later)
	require.Equal(t, "1.0.0", i.Version, "what runs goes on")
	require.True(t, i.Agrees(asks(a)))
	require.True(t, i.Agrees(asks(b)))

	i.Consent(b, "usr_1", later)
	require.Equal(t, "2.0.0", i.Version)
	require.False(t, i.Agrees(asks(a)), "what is not asked for any more is dropped")
}

// What runs without a consent, for it asks for nothing, still runs after a
// consent to something else.
func TestAgreeKeepsWhatNeededNoConsent(t *testing.T) {
	runs, asked := release("1.0.0"), release("2.0.0", "b.example.com")
	runs.Manifest.Resources.MemoryMiB *= 4
	i := marketplace.NewInstallation("org_buyer", "agt_1", now)
	_, moved := i.Next(runs, now)
	require.True(t, moved)
	i.Agree(asked, product.PermissionsOf(runs.Manifest), "usr_1", later)
	require.Equal(t, "1.0.0", i.Version)
	require.True(t, i.Agrees(product.PermissionsOf(runs.Manifest)))
	require.True(t, i.Agrees(product.PermissionsOf(asked.Manifest)))
}
