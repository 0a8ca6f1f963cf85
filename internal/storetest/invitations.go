package storetest

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

// anInvitation stores an invitation; its secret is that of the token.
func anInvitation(t *testing.T, s Stores, org marketplace.Organization, email string, role marketplace.Role) (marketplace.Invitation, string) {
	t.Helper()
	i, token, err := marketplace.NewInvitation(org.ID, email, role, actor.ID, start)
	require.NoError(t, err)
	require.NoError(t, s.Marketplace.CreateInvitation(t.Context(), actor, i))
	id, secret, ok := marketplace.ParseInvitationToken(token.Reveal())
	require.True(t, ok)
	require.Equal(t, i.ID, id)
	i.CreatedAt, i.ExpiresAt = stored(i.CreatedAt), stored(i.ExpiresAt)
	return i, secret
}

// accept accepts an invitation as the API does.
func accept(t *testing.T, s Stores, id ids.Invitation, secret string, at time.Time) (marketplace.Member, marketplace.APIKey, error) {
	t.Helper()
	user, err := marketplace.NewUser("somebody@else.test", "Ada", at)
	require.NoError(t, err)
	key, _ := marketplace.NewAPIKey("", "first key", "", marketplace.AllScopes(), at)
	return s.Marketplace.AcceptInvitation(t.Context(), "req_accept", id,
		func(i marketplace.Invitation) error { return i.Check(secret, at) }, user, key, at)
}

var invitationTests = []testCase{
	{"what is created is found", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		want, _ := anInvitation(t, s, org, "ada@acme.test", marketplace.RoleAdmin)
		got, err := s.Marketplace.Invitation(t.Context(), want.ID)
		require.NoError(t, err)
		requireSame(t, want, got)
		_, err = s.Marketplace.Invitation(t.Context(), "inv_none")
		requireFault(t, err, fault.NotFound, "invitation_not_found")
		want.OrgID, want.ID = "org_none", "inv_other"
		requireFault(t, s.Marketplace.CreateInvitation(t.Context(), actor, want), fault.NotFound, "")
	}},
	{"they are listed newest first, by pages", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		anInvitation(t, s, anOrganization(t, s, "other"), "ada@acme.test", marketplace.RoleAdmin)
		var want, got []marketplace.Invitation
		for range 5 {
			i, _ := anInvitation(t, s, org, "ada@acme.test", marketplace.RoleAdmin)
			want = append([]marketplace.Invitation{i}, want...)
		}
		pages(func(before ids.Invitation) (last ids.Invitation) {
			page, err := s.Marketplace.Invitations(t.Context(), org.ID, before, 2)
			require.NoError(t, err)
			for _, i := range page {
				got, last = append(got, i), i.ID
			}
			return last
		})
		requireSame(t, want, got)
	}},
	{"accepting makes a member with a key", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		i, secret := anInvitation(t, s, org, "ada@acme.test", marketplace.RolePublisher)
		now := after(time.Hour)
		member, key, err := accept(t, s, i.ID, secret, now)
		require.NoError(t, err)
		require.Equal(t, "ada@acme.test", member.User.Email, "the address that was invited")
		require.Equal(t, marketplace.RolePublisher, member.Role)
		stored1, err := s.Marketplace.Member(t.Context(), org.ID, member.User.ID)
		require.NoError(t, err)
		requireSame(t, member, stored1)
		stored2, err := s.Marketplace.APIKeyByPrefix(t.Context(), key.Prefix)
		require.NoError(t, err)
		key.CreatedAt = stored(key.CreatedAt)
		requireSame(t, key, stored2)
		require.Equal(t, member.User.ID, key.UserID)
		require.Equal(t, org.ID, key.OrgID)
		require.Equal(t, marketplace.RolePublisher, key.Role)
		used, err := s.Marketplace.Invitation(t.Context(), i.ID)
		require.NoError(t, err)
		require.Equal(t, stored(now), used.AcceptedAt)

		_, _, err = accept(t, s, i.ID, secret, now)
		requireFault(t, err, fault.NotFound, "invitation_not_found")
		requireFault(t, s.Marketplace.RevokeInvitation(t.Context(), actor, org.ID, i.ID, now), fault.NotFound, "invitation_not_found")
		entries, err := s.Marketplace.Audit(t.Context(), org.ID, audit.Query{Actor: string(member.User.ID)})
		require.NoError(t, err)
		require.Len(t, entries, 3, "she joined, made a key, and used the invitation up")
		for _, e := range entries {
			require.Equal(t, audit.Actor{Kind: audit.KindUser, ID: string(member.User.ID), Org: org.ID, RequestID: "req_accept"}, e.Actor)
		}
	}},
	{"an error of the check comes out as it is", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		i, secret := anInvitation(t, s, org, "ada@acme.test", marketplace.RoleMember)
		_, _, err := accept(t, s, i.ID, secret[1:]+"0", start)
		requireFault(t, err, fault.NotFound, "invitation_not_found")
		wrong := errors.New("wrong")
		_, _, err = s.Marketplace.AcceptInvitation(t.Context(), "", i.ID, func(got marketplace.Invitation) error {
			requireSame(t, i, got)
			return wrong
		}, marketplace.User{}, marketplace.APIKey{}, start)
		require.Equal(t, wrong, err)
		_, _, err = accept(t, s, "inv_none", secret, start)
		requireFault(t, err, fault.NotFound, "invitation_not_found")
		_, _, err = accept(t, s, i.ID, secret, i.ExpiresAt)
		requireFault(t, err, fault.NotFound, "invitation_not_found")
		_, err = s.Marketplace.MemberByEmail(t.Context(), org.ID, "ada@acme.test")
		requireFault(t, err, fault.NotFound, "member_not_found")
	}},
	{"one that was taken back cannot be used", func(t *testing.T, s Stores) {
		org, other := anOrganization(t, s, "acme"), anOrganization(t, s, "other")
		i, secret := anInvitation(t, s, org, "ada@acme.test", marketplace.RoleMember)
		requireFault(t, s.Marketplace.RevokeInvitation(t.Context(), actor, other.ID, i.ID, start), fault.NotFound, "invitation_not_found")
		requireFault(t, s.Marketplace.RevokeInvitation(t.Context(), actor, org.ID, "inv_none", start), fault.NotFound, "invitation_not_found")
		require.NoError(t, s.Marketplace.RevokeInvitation(t.Context(), actor, org.ID, i.ID, after(time.Minute)))
		got, err := s.Marketplace.Invitation(t.Context(), i.ID)
		require.NoError(t, err)
		require.Equal(t, stored(after(time.Minute)), got.RevokedAt)
		requireFault(t, s.Marketplace.RevokeInvitation(t.Context(), actor, org.ID, i.ID, after(time.Hour)), fault.NotFound, "invitation_not_found")
		_, _, err = accept(t, s, i.ID, secret, after(time.Hour))
		requireFault(t, err, fault.NotFound, "invitation_not_found")
		late, _ := anInvitation(t, s, org, "ada@acme.test", marketplace.RoleMember)
		requireFault(t, s.Marketplace.RevokeInvitation(t.Context(), actor, org.ID, late.ID, late.ExpiresAt), fault.NotFound, "invitation_not_found")
	}},
	{"a member is not invited in again", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		ada := aMember(t, s, org, "ada@acme.test", marketplace.RoleOwner)
		i, secret := anInvitation(t, s, org, "ada@acme.test", marketplace.RoleMember)
		_, _, err := accept(t, s, i.ID, secret, start)
		requireFault(t, err, fault.Conflict, "member_exists")
		got, err := s.Marketplace.Member(t.Context(), org.ID, ada.User.ID)
		require.NoError(t, err)
		requireSame(t, ada, got)
		left, err := s.Marketplace.Invitation(t.Context(), i.ID)
		require.NoError(t, err)
		require.Zero(t, left.AcceptedAt)
	}},
	{"accepted by many at once it makes one member and one key", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		i, secret := anInvitation(t, s, org, "ada@acme.test", marketplace.RoleMember)
		var made, refused atomic.Int32
		together(10, func(int) {
			switch _, _, err := accept(t, s, i.ID, secret, start); {
			case err == nil:
				made.Add(1)
			case fault.From(err).Code == "invitation_not_found":
				refused.Add(1)
			}
		})
		require.EqualValues(t, 1, made.Load())
		require.EqualValues(t, 9, refused.Load())
		members, err := s.Marketplace.Members(t.Context(), org.ID, "", 0)
		require.NoError(t, err)
		require.Len(t, members, 1)
		keys, err := s.Marketplace.APIKeys(t.Context(), org.ID, "", 0)
		require.NoError(t, err)
		require.Len(t, keys, 1)
	}},
}
