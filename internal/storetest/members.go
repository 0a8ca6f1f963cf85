package storetest

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

var memberTests = []testCase{
	{"who is added is found", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		user, err := marketplace.NewUser("Ada@Acme.test", "Ada", start)
		require.NoError(t, err)
		got, err := s.Marketplace.AddMember(t.Context(), actor,
			marketplace.Member{OrgID: org.ID, User: user, Role: marketplace.RoleOwner, JoinedAt: after(time.Minute)})
		require.NoError(t, err)
		user.CreatedAt = stored(user.CreatedAt)
		want := marketplace.Member{OrgID: org.ID, User: user, Role: marketplace.RoleOwner, JoinedAt: stored(after(time.Minute))}
		requireSame(t, want, got)
		got, err = s.Marketplace.Member(t.Context(), org.ID, user.ID)
		require.NoError(t, err)
		requireSame(t, want, got)
		got, err = s.Marketplace.MemberByEmail(t.Context(), org.ID, "ada@acme.test")
		require.NoError(t, err)
		requireSame(t, want, got)
		requireAudit(t, s, org.ID, string(user.ID), entry{"member.add", "", `{"email":"ada@acme.test","name":"Ada","role":"owner"}`})
	}},
	{"a person is one, in every organization", func(t *testing.T, s Stores) {
		org, other := anOrganization(t, s, "acme"), anOrganization(t, s, "other")
		ada := aMember(t, s, org, "ada@acme.test", marketplace.RoleOwner)
		again, err := marketplace.NewUser("ada@acme.test", "Countess", after(time.Hour))
		require.NoError(t, err)
		m, err := s.Marketplace.AddMember(t.Context(), actor,
			marketplace.Member{OrgID: other.ID, User: again, Role: marketplace.RoleMember, JoinedAt: start})
		require.NoError(t, err)
		require.Equal(t, ada.User, m.User)
		_, err = s.Marketplace.AddMember(t.Context(), actor,
			marketplace.Member{OrgID: org.ID, User: again, Role: marketplace.RoleMember, JoinedAt: start})
		requireFault(t, err, fault.Conflict, "member_exists")
		got, err := s.Marketplace.Member(t.Context(), org.ID, ada.User.ID)
		require.NoError(t, err)
		requireSame(t, ada, got)
	}},
	{"of many who add the same person one does", func(t *testing.T, s Stores) {
		org, other := anOrganization(t, s, "acme"), anOrganization(t, s, "other")
		var added, refused atomic.Int32
		together(20, func(i int) {
			user, _ := marketplace.NewUser("ada@acme.test", "Ada", start)
			m := marketplace.Member{OrgID: []ids.Org{org.ID, other.ID}[i%2], User: user, Role: marketplace.RoleMember, JoinedAt: start}
			switch _, err := s.Marketplace.AddMember(t.Context(), actor, m); {
			case err == nil:
				added.Add(1)
			case fault.From(err).Code == "member_exists":
				refused.Add(1)
			}
		})
		require.EqualValues(t, 2, added.Load(), "one in each organization")
		require.EqualValues(t, 18, refused.Load())
		a, err := s.Marketplace.MemberByEmail(t.Context(), org.ID, "ada@acme.test")
		require.NoError(t, err)
		b, err := s.Marketplace.MemberByEmail(t.Context(), other.ID, "ada@acme.test")
		require.NoError(t, err)
		require.Equal(t, a.User, b.User)
	}},
	{"what does not exist is not found", func(t *testing.T, s Stores) {
		org, other := anOrganization(t, s, "acme"), anOrganization(t, s, "other")
		ada := aMember(t, s, org, "ada@acme.test", marketplace.RoleOwner)
		_, err := s.Marketplace.Member(t.Context(), other.ID, ada.User.ID)
		requireFault(t, err, fault.NotFound, "member_not_found")
		_, err = s.Marketplace.MemberByEmail(t.Context(), other.ID, "ada@acme.test")
		requireFault(t, err, fault.NotFound, "member_not_found")
		_, err = s.Marketplace.SetRole(t.Context(), actor, other.ID, ada.User.ID, marketplace.RoleAdmin, start)
		requireFault(t, err, fault.NotFound, "member_not_found")
		requireFault(t, s.Marketplace.RemoveMember(t.Context(), actor, other.ID, ada.User.ID, start), fault.NotFound, "member_not_found")
		_, err = s.Marketplace.AddMember(t.Context(), actor, marketplace.Member{OrgID: "org_none", User: ada.User, Role: ada.Role, JoinedAt: start})
		requireFault(t, err, fault.NotFound, "organization_not_found")
	}},
	{"they are listed by pages, with their teams", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		var want, got []marketplace.Member
		for _, email := range []string{"a@acme.test", "b@acme.test", "c@acme.test", "d@acme.test", "e@acme.test"} {
			m := aMember(t, s, org, email, marketplace.RoleMember)
			m.Teams = []ids.Team{aTeam(t, s, org, email[:1], m.User.ID).ID}
			want = append([]marketplace.Member{m}, want...)
		}
		aMember(t, s, anOrganization(t, s, "other"), "a@acme.test", marketplace.RoleOwner)
		pages(func(before ids.User) (last ids.User) {
			page, err := s.Marketplace.Members(t.Context(), org.ID, before, 2)
			require.NoError(t, err)
			for _, m := range page {
				got, last = append(got, m), m.User.ID
			}
			return last
		})
		requireSame(t, want, got)
	}},
	{"a role is changed, and the same one again is no change", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		aMember(t, s, org, "owner@acme.test", marketplace.RoleOwner)
		ada := aMember(t, s, org, "ada@acme.test", marketplace.RoleMember)
		team := aTeam(t, s, org, "red", ada.User.ID)
		ada.Role, ada.Teams = marketplace.RolePublisher, []ids.Team{team.ID}
		for range 2 {
			got, err := s.Marketplace.SetRole(t.Context(), actor, org.ID, ada.User.ID, marketplace.RolePublisher, after(time.Minute))
			require.NoError(t, err)
			requireSame(t, ada, got)
		}
		entries, err := s.Marketplace.Audit(t.Context(), org.ID, auditOf(string(ada.User.ID)))
		require.NoError(t, err)
		require.Len(t, entries, 2)
		require.Equal(t, "member.set_role", entries[0].Action)
		require.Contains(t, string(entries[0].Before), string(marketplace.RoleMember))
		require.Contains(t, string(entries[0].After), string(marketplace.RolePublisher))
	}},
	{"the last owner stays", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		ada := aMember(t, s, org, "ada@acme.test", marketplace.RoleOwner)
		aMember(t, s, anOrganization(t, s, "other"), "bob@acme.test", marketplace.RoleOwner)
		_, err := s.Marketplace.SetRole(t.Context(), actor, org.ID, ada.User.ID, marketplace.RoleAdmin, start)
		requireFault(t, err, fault.Conflict, "last_owner")
		requireFault(t, s.Marketplace.RemoveMember(t.Context(), actor, org.ID, ada.User.ID, start), fault.Conflict, "last_owner")
		_, err = s.Marketplace.SetRole(t.Context(), actor, org.ID, ada.User.ID, marketplace.RoleOwner, start)
		require.NoError(t, err, "what she is already")
		aMember(t, s, org, "bob@acme.test", marketplace.RoleOwner)
		require.NoError(t, s.Marketplace.RemoveMember(t.Context(), actor, org.ID, ada.User.ID, start))
	}},
	{"of owners who all go at once one stays", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		var owners []ids.User
		for _, email := range []string{"a@acme.test", "b@acme.test", "c@acme.test", "d@acme.test"} {
			owners = append(owners, aMember(t, s, org, email, marketplace.RoleOwner).User.ID)
		}
		var gone, refused atomic.Int32
		together(len(owners), func(i int) {
			var err error
			if i%2 == 0 {
				err = s.Marketplace.RemoveMember(t.Context(), actor, org.ID, owners[i], start)
			} else {
				_, err = s.Marketplace.SetRole(t.Context(), actor, org.ID, owners[i], marketplace.RoleAdmin, start)
			}
			switch {
			case err == nil:
				gone.Add(1)
			case fault.From(err).Code == "last_owner":
				refused.Add(1)
			}
		})
		members, err := s.Marketplace.Members(t.Context(), org.ID, "", 0)
		require.NoError(t, err)
		left := 0
		for _, m := range members {
			if m.Role == marketplace.RoleOwner {
				left++
			}
		}
		require.Equal(t, 1, left)
		require.EqualValues(t, 3, gone.Load())
		require.EqualValues(t, 1, refused.Load())
	}},
	{"who leaves or changes her role takes her open invitations along", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		aMember(t, s, org, "owner@acme.test", marketplace.RoleOwner)
		ada := aMember(t, s, org, "ada@acme.test", marketplace.RoleAdmin)
		invite := func(email, by string) marketplace.Invitation {
			i, _, err := marketplace.NewInvitation(org.ID, email, marketplace.RoleMember, by, start)
			require.NoError(t, err)
			require.NoError(t, s.Marketplace.CreateInvitation(t.Context(), actor, i))
			return i
		}
		revoked := func(i marketplace.Invitation) time.Time {
			got, err := s.Marketplace.Invitation(t.Context(), i.ID)
			require.NoError(t, err)
			return got.RevokedAt
		}
		first, others := invite("bob@acme.test", string(ada.User.ID)), invite("eve@acme.test", "usr_other")
		_, err := s.Marketplace.SetRole(t.Context(), actor, org.ID, ada.User.ID, marketplace.RoleAdmin, after(time.Minute))
		require.NoError(t, err)
		require.Zero(t, revoked(first), "what she is already")
		_, err = s.Marketplace.SetRole(t.Context(), actor, org.ID, ada.User.ID, marketplace.RoleMember, after(time.Minute))
		require.NoError(t, err)
		require.Equal(t, stored(after(time.Minute)), revoked(first))
		second := invite("bob@acme.test", string(ada.User.ID))
		require.NoError(t, s.Marketplace.RemoveMember(t.Context(), actor, org.ID, ada.User.ID, after(time.Hour)))
		require.Equal(t, stored(after(time.Minute)), revoked(first))
		require.Equal(t, stored(after(time.Hour)), revoked(second))
		require.Zero(t, revoked(others))
		entries, err := s.Marketplace.Audit(t.Context(), org.ID, auditOf(string(second.ID)))
		require.NoError(t, err)
		require.Equal(t, "invitation.revoke", entries[0].Action)
	}},
	{"who leaves, leaves the teams, and her keys end", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		owner := aMember(t, s, org, "owner@acme.test", marketplace.RoleOwner)
		ada := aMember(t, s, org, "ada@acme.test", marketplace.RoleMember)
		key, program := aKey(t, s, org, ada.User.ID, start), aKey(t, s, org, "", start)
		team := aTeam(t, s, org, "red", ada.User.ID, owner.User.ID)
		require.NoError(t, s.Marketplace.RemoveMember(t.Context(), actor, org.ID, ada.User.ID, after(time.Minute)))
		_, err := s.Marketplace.Member(t.Context(), org.ID, ada.User.ID)
		requireFault(t, err, fault.NotFound, "member_not_found")
		teams, err := s.Marketplace.Teams(t.Context(), org.ID)
		require.NoError(t, err)
		team.Members = []ids.User{owner.User.ID}
		requireSame(t, []marketplace.Team{team}, teams)
		got, err := s.Marketplace.APIKey(t.Context(), org.ID, program.ID)
		require.NoError(t, err)
		require.Zero(t, got.RevokedAt)

		back := aMember(t, s, org, "ada@acme.test", marketplace.RoleMember)
		require.Equal(t, ada.User, back.User)
		got, err = s.Marketplace.APIKeyByPrefix(t.Context(), key.Prefix)
		require.NoError(t, err)
		require.Equal(t, stored(after(time.Minute)), got.RevokedAt, "keys do not come back with her")
	}},
}
