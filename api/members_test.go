package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/marketplace"
)

const members = "/v1/organizations/acme/members"

func TestReadMembers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var want []string
	for i := range 5 {
		m, _ := f.person(f.org.ID, fmt.Sprintf("m%d@example.com", i), marketplace.RoleMember)
		want = append([]string{string(m.User.ID)}, want...)
	}
	require.Equal(t, want, f.items(f.get(members), "user_id"))
	first := f.requireStatus(http.StatusOK, f.get(members+"?limit=2"))
	second := f.get(members + "?limit=2&cursor=" + first["next_cursor"].(string))
	require.Equal(t, want[2:4], f.items(second, "user_id"))
	last := f.get(members + "?limit=2&cursor=" + second.json(t)["next_cursor"].(string))
	require.Equal(t, want[4:], f.items(last, "user_id"))
	require.Nil(t, last.json(t)["next_cursor"])
	require.Equal(t, "m0@example.com", f.requireStatus(http.StatusOK, f.get(members+"/"+want[4]))["email"])

	for _, absent := range []string{"usr_1", "usr_01jd3m0f9zq4x8v5c7n2b6k1ta", string(f.org.ID)} {
		f.requireCode(http.StatusNotFound, "member_not_found", f.get(members+"/"+absent))
	}
	f.requireCode(http.StatusUnprocessableEntity, "cursor_invalid", f.get(members+"?cursor=x"), "cursor")
	f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.get(members+"?limit=0"), "limit")
	f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.get(members+"?role=owner"), "role")
}

// TestSetRole holds every change of a role to Role.MayGive: of the role that the
// member has, and of the one that it is to have.
func TestSetRole(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.person(f.org.ID, "first@example.com", marketplace.RoleOwner) // the others are not the last one
	member, token := f.person(f.org.ID, "m@example.com", marketplace.RoleMember)
	path := members + "/" + string(member.User.ID)
	for _, role := range marketplace.Roles() {
		by := f.roleKey(f.org.ID, role)
		for _, has := range []marketplace.Role{marketplace.RoleOwner, marketplace.RoleAdmin, marketplace.RoleAuditor} {
			for _, wants := range []marketplace.Role{marketplace.RoleOwner, marketplace.RoleAdmin, marketplace.RolePublisher} {
				name := fmt.Sprintf("%s makes %s of %s", role, wants, has)
				_, err := f.market.SetRole(t.Context(), setUp, f.org.ID, member.User.ID, has, now)
				require.NoError(t, err)
				got := f.send(http.MethodPatch, path, fmt.Sprintf(`{"role":%q}`, wants), by)
				is := f.send(http.MethodGet, "/v1/me", "", token).json(t)["role"]
				switch {
				case !role.Allows(marketplace.ActMembersManage):
					require.Equal(t, "role_missing", got.json(t)["code"], name)
					require.Equal(t, string(has), is, name)
				case role.MayGive(has) && role.MayGive(wants):
					require.Equal(t, http.StatusOK, got.status, name+got.text)
					require.Equal(t, string(wants), got.json(t)["role"], name)
					require.Equal(t, string(wants), is, name+": the personal key follows")
				default:
					require.Equal(t, http.StatusForbidden, got.status, name)
					require.Equal(t, "rights_exceeded", got.json(t)["code"], name)
					require.Equal(t, string(has), is, name)
				}
			}
		}
	}
	for body, pointer := range map[string]string{
		`{}`: "/role", `{"role":"operator"}`: "/role", `{"role":""}`: "/role", `{"role":null}`: "/role",
		`{"role":"member","name":"x"}`: "/name",
	} {
		f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.send(http.MethodPatch, path, body, ""), pointer)
	}
	f.requireCode(http.StatusForbidden, "rights_exceeded", f.send(http.MethodPatch, path, `{"role":"owner"}`,
		f.roleKey(f.org.ID, marketplace.RoleAdmin)), "/role")
	f.requireCode(http.StatusNotFound, "member_not_found", f.send(http.MethodPatch, members+"/usr_1", `{"role":"member"}`, ""))
}

func TestLastOwner(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ada, hers := f.person(f.org.ID, "ada@example.com", marketplace.RoleOwner)
	path := members + "/" + string(ada.User.ID)
	for _, token := range []string{f.token, hers} {
		f.requireCode(http.StatusConflict, "last_owner", f.send(http.MethodPatch, path, `{"role":"admin"}`, token))
		f.requireCode(http.StatusConflict, "last_owner", f.send(http.MethodDelete, path, "", token))
	}
	f.requireStatus(http.StatusOK, f.send(http.MethodPatch, path, `{"role":"owner"}`, hers))
	f.person(f.org.ID, "bob@example.com", marketplace.RoleOwner)
	f.requireStatus(http.StatusOK, f.send(http.MethodPatch, path, `{"role":"admin"}`, hers))
	f.requireCode(http.StatusForbidden, "rights_exceeded", f.send(http.MethodPatch, path, `{"role":"owner"}`, hers), "/role")
}

func TestRemoveMember(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owner, _ := f.person(f.org.ID, "owner@example.com", marketplace.RoleOwner)
	f.person(f.org.ID, "other-owner@example.com", marketplace.RoleOwner)
	bob, his := f.person(f.org.ID, "bob@example.com", marketplace.RoleAdmin)
	other, _ := f.organization("stranger")
	elsewhere, _ := f.person(other.ID, "eve@example.com", marketplace.RoleMember)
	path := members + "/" + string(bob.User.ID)

	f.requireStatus(http.StatusOK, f.send(http.MethodGet, "/v1/me", "", his))
	f.requireCode(http.StatusForbidden, "rights_exceeded", f.send(http.MethodDelete, members+"/"+string(owner.User.ID), "", his))
	f.requireCode(http.StatusNotFound, "member_not_found", f.send(http.MethodDelete, members+"/"+string(elsewhere.User.ID), "", his))
	require.Equal(t, http.StatusNoContent, f.send(http.MethodDelete, path, "", "").status)
	f.requireCode(http.StatusUnauthorized, "key_invalid", f.send(http.MethodGet, "/v1/me", "", his))
	f.requireCode(http.StatusNotFound, "member_not_found", f.get(path))
	f.requireCode(http.StatusNotFound, "member_not_found", f.send(http.MethodDelete, path, "", ""))
	require.NotContains(t, f.items(f.get(members), "user_id"), string(bob.User.ID))
}

func TestTeams(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const teams = "/v1/organizations/acme/teams"
	bob, his := f.person(f.org.ID, "bob@example.com", marketplace.RoleMember)
	other, _ := f.organization("stranger")
	eve, _ := f.person(other.ID, "eve@example.com", marketplace.RoleMember)

	got := f.post(teams, `{"name":"research"}`)
	made := f.requireStatus(http.StatusCreated, got)
	path := got.header.Get("Location")
	require.Equal(t, map[string]any{
		"id": made["id"], "name": "research", "members": []any{}, "created_at": "2026-11-22T12:00:00Z",
		"urls": map[string]any{"self": teams + "/" + made["id"].(string)},
	}, f.requireStatus(http.StatusOK, f.get(path)))
	f.requireStatus(http.StatusCreated, f.post(teams, `{"name":"art"}`))
	require.Equal(t, []string{"art", "research"}, f.items(f.get(teams), "name"))

	in := path + "/members/" + string(bob.User.ID)
	for _, body := range []string{"", "{}"} { // a second time changes nothing
		require.Equal(t, []any{string(bob.User.ID)}, f.requireStatus(http.StatusOK, f.send(http.MethodPut, in, body, ""))["members"])
	}
	me := f.send(http.MethodGet, "/v1/me", "", his).json(t)
	require.Equal(t, []any{made["id"]}, me["member"].(map[string]any)["teams"])
	f.requireCode(http.StatusNotFound, "member_not_found", f.send(http.MethodPut, path+"/members/"+string(eve.User.ID), "", ""))
	f.requireCode(http.StatusNotFound, "member_not_found", f.send(http.MethodPut, path+"/members/bob", "", ""))
	f.requireCode(http.StatusNotFound, "team_not_found", f.send(http.MethodPut, teams+"/team_1/members/"+string(bob.User.ID), "", ""))
	f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.send(http.MethodPut, in, `{"role":"owner"}`, ""), "/role")
	for range 2 {
		require.Equal(t, http.StatusNoContent, f.send(http.MethodDelete, in, "", "").status)
		require.Empty(t, f.get(path).json(t)["members"])
	}

	f.requireCode(http.StatusConflict, "team_taken", f.post(teams, `{"name":"research"}`))
	for body, pointer := range map[string]string{
		`{}`: "/name", `{"name":""}`: "/name", `{"name":"Research"}`: "/name", `{"name":"-a"}`: "/name",
		`{"name":"` + strings.Repeat("a", 41) + `"}`: "/name", `{"name":"a","members":[]}`: "/members",
	} {
		f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.post(teams, body), pointer)
	}
	require.Equal(t, http.StatusNoContent, f.send(http.MethodDelete, path, "", "").status)
	f.requireCode(http.StatusNotFound, "team_not_found", f.send(http.MethodDelete, path, "", ""))
	f.requireCode(http.StatusNotFound, "team_not_found", f.get(path))
}

func TestTeamsAreBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i := range marketplace.MaxTeams {
		team, err := marketplace.NewTeam(f.org.ID, fmt.Sprintf("team-%d", i), now)
		require.NoError(t, err)
		require.NoError(t, f.market.CreateTeam(t.Context(), setUp, team))
	}
	f.requireCode(http.StatusConflict, "too_many", f.post("/v1/organizations/acme/teams", `{"name":"one-more"}`))
	require.Len(t, f.items(f.get("/v1/organizations/acme/teams"), "id"), marketplace.MaxTeams)
}
