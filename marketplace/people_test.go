package marketplace_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

func TestNormalEmail(t *testing.T) {
	long := strings.Repeat("a", marketplace.MaxEmail-len("@example.com")) + "@example.com"
	for text, want := range map[string]string{
		"eva@example.com":         "eva@example.com",
		"Eva.Maier@Example.COM":   "eva.maier@example.com",
		"eva+market@localhost":    "eva+market@localhost",
		"jürgen@münchen.example":  "jürgen@münchen.example",
		strings.ToUpper(long):     long,
		"o'hara@example.com":      "o'hara@example.com",
		"ÄNNE@example.com":        "änne@example.com",
		"user%relay@example.com":  "user%relay@example.com",
		"x@[192.0.2.1]":           "x@[192.0.2.1]",
		"a.b.c.d@sub.example.com": "a.b.c.d@sub.example.com",
	} {
		got, err := marketplace.NormalEmail(text, "/email")
		require.NoError(t, err, text)
		require.Equal(t, want, got)
	}
	for _, bad := range []string{
		"", "eva", "@example.com", "eva@", "Eva <eva@example.com>", "<eva@example.com>", " eva@example.com", "eva@example.com ",
		"eva@example.com\n", "eva@exa mple.com", "eva@example.com, max@example.com", `"eva maier"@example.com`, "eva@example.com (me)",
		"eva\x00@example.com", "eva\xff@example.com", "a" + long,
		// Its lower case is a byte longer for each character.
		strings.Repeat("Ⱥ", 121) + "@example.com",
	} {
		_, err := marketplace.NormalEmail(bad, "/email")
		require.Equal(t, []string{"/email"}, pointers(t, err), bad)
	}
}

func FuzzNormalEmail(f *testing.F) {
	f.Add("Eva@Example.com")
	f.Add("ȺEVA@example.com")
	f.Fuzz(func(t *testing.T, text string) {
		once, err := marketplace.NormalEmail(text, "/email")
		if err != nil {
			return
		}
		if len(once) > marketplace.MaxEmail || !utf8.ValidString(once) {
			t.Fatalf("%q became %q", text, once)
		}
		if again, err := marketplace.NormalEmail(once, "/email"); err != nil || again != once {
			t.Fatalf("%q became %q, and that %q: %v", text, once, again, err)
		}
	})
}

func TestCheckText(t *testing.T) {
	for _, good := range []string{
		"a", strings.Repeat("ä", 10), "  a  ", "日本語", "👩‍🔬", "שלום", "مرحبا", "1", "!",
	} {
		require.NoError(t, marketplace.CheckText(good, "/x", 10), good)
	}
	for _, bad := range []string{
		"", " ", "\u200b", "\u00a0\u2003", strings.Repeat("ä", 11), "a\nb", "a\tb", "a\x00b", "a\x7fb", "a\u0085b",
		"a\u2028b", "a\u2029b", "a\xffb", "gpj.\u202eexe", "a\u2066b",
	} {
		require.Equal(t, []string{"/x"}, pointers(t, marketplace.CheckText(bad, "/x", 10)), "%q", bad)
	}
}

func TestNewUser(t *testing.T) {
	u, err := marketplace.NewUser("Eva@Example.com", "Eva Maier", now)
	require.NoError(t, err)
	require.True(t, ids.Valid(ids.PrefixUser, string(u.ID)))
	require.Equal(t, marketplace.User{ID: u.ID, Email: "eva@example.com", Name: "Eva Maier", CreatedAt: now}, u)

	_, err = marketplace.NewUser("eva", "Eva Maier", now)
	require.Equal(t, []string{"/email"}, pointers(t, err))
	for _, name := range []string{"", "Eva\nMaier", strings.Repeat("x", marketplace.MaxPersonName+1)} {
		_, err = marketplace.NewUser("eva@example.com", name, now)
		require.Equal(t, []string{"/name"}, pointers(t, err))
	}
}

func TestInvitationsHaveARoleOfAnOrganization(t *testing.T) {
	for _, r := range append(marketplace.Roles(), "", "root") {
		i, token, err := marketplace.NewInvitation("org_1", "Eva@Example.com", r, "usr_1", now)
		if !r.OfOrganization() {
			require.Equal(t, []string{"/role"}, pointers(t, err), r)
			require.Empty(t, token.Reveal())
			continue
		}
		require.NoError(t, err)
		require.Equal(t, r, i.Role)
		require.Equal(t, "eva@example.com", i.Email)
		require.Equal(t, now.Add(marketplace.InvitationLife), i.ExpiresAt)
	}
	_, _, err := marketplace.NewInvitation("org_1", "eva", marketplace.RoleMember, "usr_1", now)
	require.Equal(t, []string{"/email"}, pointers(t, err))
}

func TestInvitationIsAcceptedOnceInItsTime(t *testing.T) {
	fresh, token, err := marketplace.NewInvitation("org_1", "eva@example.com", marketplace.RoleMember, "usr_1", now)
	require.NoError(t, err)
	_, other, err := marketplace.NewInvitation("org_1", "eva@example.com", marketplace.RoleMember, "usr_1", now)
	require.NoError(t, err)
	id, secret, ok := marketplace.ParseInvitationToken(token.Reveal())
	require.True(t, ok)
	require.Equal(t, fresh.ID, id)
	_, foreign, ok := marketplace.ParseInvitationToken(other.Reveal())
	require.True(t, ok)

	used, revoked := fresh, fresh
	used.AcceptedAt, revoked.RevokedAt = now, now
	for name, tc := range map[string]struct {
		invitation marketplace.Invitation
		secret     string
		after      time.Duration
		ok         bool
	}{
		"at once":              {fresh, secret, 0, true},
		"at the last moment":   {fresh, secret, marketplace.InvitationLife - 1, true},
		"too late":             {fresh, secret, marketplace.InvitationLife, false},
		"used before":          {used, secret, time.Hour, false},
		"taken back":           {revoked, secret, time.Hour, false},
		"another one's secret": {fresh, foreign, 0, false},
		"no secret":            {fresh, "", 0, false},
		"a part of the secret": {fresh, secret[:39], 0, false},
		"none at all":          {marketplace.Invitation{}, secret, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := tc.invitation.Check(tc.secret, now.Add(tc.after))
			if tc.ok {
				require.NoError(t, err)
				return
			}
			denied(t, err, fault.NotFound, "invitation_not_found")
		})
	}
}

func TestParseInvitationTokenRefusesOtherShapes(t *testing.T) {
	_, token, err := marketplace.NewInvitation("org_1", "eva@example.com", marketplace.RoleMember, "usr_1", now)
	require.NoError(t, err)
	good := token.Reveal()
	for _, bad := range []string{
		"", "ami_", "ami__", good[:len(good)-1], good + "0", strings.ToUpper(good), "amk" + good[3:], good[4:],
		strings.Replace(good, "_", "_8", 1), good + "\n", " " + good, good[:31] + good[30:],
	} {
		_, _, ok := marketplace.ParseInvitationToken(bad)
		require.False(t, ok, bad)
	}
}

func FuzzParseInvitationToken(f *testing.F) {
	_, token, err := marketplace.NewInvitation("org_1", "eva@example.com", marketplace.RoleMember, "usr_1", now)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token.Reveal())
	f.Add("ami_" + strings.Repeat("z", 26) + "_" + strings.Repeat("0", 40))
	f.Add("ami__")
	f.Fuzz(func(t *testing.T, text string) {
		id, secret, ok := marketplace.ParseInvitationToken(text)
		if ok && (text != "ami_"+ids.Body(id)+"_"+secret || !ids.Valid(ids.PrefixInvitation, string(id))) {
			t.Fatalf("%q was read as %q and %q", text, id, secret)
		}
	})
}
