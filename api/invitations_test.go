package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/marketplace"
)

const (
	invitations = "/v1/organizations/acme/invitations"
	acceptance  = "/v1/invitations/accept"
)

// accept accepts an invitation, as everybody can who has its token.
func (f *fixture) accept(token, name string) answer {
	f.t.Helper()
	return f.do(call{method: http.MethodPost, path: acceptance, body: `{"token":"` + token + `","name":"` + name + `"}`, noToken: true})
}

// TestInvitation follows a person from the invitation to her first call.
func TestInvitation(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	got := f.post(invitations, `{"email":"Ada@Example.com","role":"publisher"}`)
	made := f.requireStatus(http.StatusCreated, got)
	token := made["token"].(string)
	invitation := made["invitation"].(map[string]any)
	require.Equal(t, invitations+"/"+invitation["id"].(string), got.header.Get("Location"))
	require.Equal(t, "ada@example.com", invitation["email"])
	require.Equal(t, "2026-11-29T12:00:00Z", invitation["expires_at"])
	require.Equal(t, invitation, f.requireStatus(http.StatusOK, f.get(got.header.Get("Location"))))
	list := f.get(invitations)
	require.Equal(t, []string{"pending"}, f.items(list, "status"))
	require.NotContains(t, list.text, token[len(token)-40:], "the secret is shown once")

	accepted := f.accept(token, "Ada Lovelace")
	body := f.requireStatus(http.StatusCreated, accepted)
	member := body["member"].(map[string]any)
	require.Equal(t, "acme", body["organization"].(map[string]any)["name"])
	require.Equal(t, members+"/"+member["user_id"].(string), accepted.header.Get("Location"))
	require.Equal(t, []any{"ada@example.com", "Ada Lovelace", "publisher"}, []any{member["email"], member["name"], member["role"]})
	key := body["api_key"].(map[string]any)
	require.Equal(t, []any{member["user_id"], "publisher"}, []any{key["user_id"], key["role"]})

	hers := body["token"].(string)
	require.Equal(t, member, f.requireStatus(http.StatusOK, f.send(http.MethodGet, "/v1/me", "", hers))["member"])
	require.Equal(t, http.StatusCreated, f.send(http.MethodPost, "/v1/agents", publication("1.0.0"), hers).status)
	require.Equal(t, []string{"accepted"}, f.items(f.get(invitations), "status"))

	f.requireCode(http.StatusNotFound, "invitation_not_found", f.accept(token, "Eve"))
	f.requireCode(http.StatusConflict, "member_exists", f.post(invitations, `{"email":"ada@example.com","role":"member"}`))
	f.requireCode(http.StatusNotFound, "invitation_not_found", f.send(http.MethodDelete, got.header.Get("Location"), "", ""))
	require.NotContains(t, f.log.String(), hers)
	require.NotContains(t, f.log.String(), token)
}

func TestInvitationOfAKnownPerson(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, stranger := f.organization("stranger")
	first := f.requireStatus(http.StatusCreated, f.accept(f.post(invitations, `{"email":"ada@example.com","role":"owner"}`).json(t)["token"].(string), "Ada"))
	there := f.send(http.MethodPost, "/v1/organizations/stranger/invitations", `{"email":"ADA@example.com","role":"auditor"}`, stranger)
	second := f.requireStatus(http.StatusCreated, f.accept(there.json(t)["token"].(string), "Somebody else"))
	one, other := first["member"].(map[string]any), second["member"].(map[string]any)
	require.Equal(t, one["user_id"], other["user_id"])
	require.Equal(t, "Ada", other["name"])
	require.Equal(t, "auditor", f.send(http.MethodGet, "/v1/me", "", second["token"].(string)).json(t)["role"])
	require.Equal(t, "owner", f.send(http.MethodGet, "/v1/me", "", first["token"].(string)).json(t)["role"])
	f.requireCode(http.StatusNotFound, "organization_not_found",
		f.send(http.MethodGet, "/v1/organizations/stranger", "", first["token"].(string)))
}

// TestUselessInvitations have one answer: nobody learns whether there was one.
func TestUselessInvitations(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	invite := func(email string) (string, string) {
		got := f.post(invitations, `{"email":"`+email+`","role":"member"}`)
		return f.requireStatus(http.StatusCreated, got)["token"].(string), got.header.Get("Location")
	}
	revoked, path := invite("a@example.com")
	require.Equal(t, http.StatusNoContent, f.send(http.MethodDelete, path, "", "").status)
	expired, _ := invite("b@example.com")
	f.clock.advance(marketplace.InvitationLife)
	good, goodPath := invite("c@example.com")
	require.Equal(t, []string{"pending", "expired", "revoked"}, f.items(f.get(invitations), "status"))
	wrong := good[:len(good)-40] + strings.Repeat("0", 40)
	for _, token := range []string{revoked, expired, wrong, "nonsense", f.token, "ami_" + strings.Repeat("0", 26) + "_" + strings.Repeat("0", 40)} {
		got := f.accept(token, "Eve")
		requireProblem(t, want{404, "invitation_not_found", "There is no such invitation",
			"there is no such invitation; it may have been used, taken back or expired", nil, nil, nil}, acceptance, got)
	}
	for body, pointers := range map[string][]string{
		`{}`:                                     {"/name", "/token"},
		`{"token":"","name":""}`:                 {"/name", "/token"},
		`{"token":7,"name":"x"}`:                 {"/token"},
		`{"token":"` + good + `"}`:               {"/name"},
		`{"token":"` + good + `","name":" "}`:    {"/name"},
		`{"token":"` + good + `","name":"a\nb"}`: {"/name"},
		`{"token":"` + good + `","name":"` + strings.Repeat("x", 101) + `"}`: {"/name"},
		`{"token":"` + good + `","name":"Ada","role":"owner"}`:               {"/role"},
	} {
		got := f.do(call{method: http.MethodPost, path: acceptance, body: body, noToken: true})
		f.requireCode(http.StatusUnprocessableEntity, "request_invalid", got, pointers...)
	}
	require.Equal(t, "pending", f.get(goodPath).json(t)["status"], "a refused request uses nothing up")
	f.requireStatus(http.StatusCreated, f.accept(good, "Ada"))
}

func TestInvite(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	other, stranger := f.organization("stranger")
	for body, pointers := range map[string][]string{
		`{}`:                              {"/email", "/role"},
		`{"email":"ada","role":"member"}`: {"/email"},
		`{"email":"","role":"member"}`:    {"/email"},
		`{"email":"Ada <ada@example.com>","role":"member"}`:                               {"/email"},
		`{"email":"` + strings.Repeat("a", 250) + `@b.cd","role":"member"}`:               {"/email"},
		`{"email":"ada@example.com","role":"operator"}`:                                   {"/role"},
		`{"email":"ada@example.com","role":"member","expires_at":"2030-01-01T00:00:00Z"}`: {"/expires_at"},
	} {
		f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.post(invitations, body), pointers...)
	}
	for _, role := range marketplace.Roles() {
		by := f.roleKey(f.org.ID, role)
		for _, offered := range marketplace.Roles() {
			if !offered.OfOrganization() {
				continue
			}
			got := f.send(http.MethodPost, invitations, `{"email":"x@example.com","role":"`+string(offered)+`"}`, by)
			switch {
			case !role.Allows(marketplace.ActMembersManage):
				f.requireCode(http.StatusForbidden, "role_missing", got)
			case role.MayGive(offered):
				f.requireStatus(http.StatusCreated, got)
			default:
				f.requireCode(http.StatusForbidden, "rights_exceeded", got, "/role")
			}
		}
	}
	owners := f.post(invitations, `{"email":"owner@example.com","role":"owner"}`).header.Get("Location")
	f.requireCode(http.StatusForbidden, "rights_exceeded", f.send(http.MethodDelete, owners, "", f.roleKey(f.org.ID, marketplace.RoleAdmin)))
	theirs := f.send(http.MethodPost, "/v1/organizations/stranger/invitations", `{"email":"x@example.com","role":"member"}`, stranger)
	id := f.requireStatus(http.StatusCreated, theirs)["invitation"].(map[string]any)["id"].(string)
	for _, absent := range []string{id, "inv_1", string(other.ID)} {
		f.requireCode(http.StatusNotFound, "invitation_not_found", f.get(invitations+"/"+absent))
		f.requireCode(http.StatusNotFound, "invitation_not_found", f.send(http.MethodDelete, invitations+"/"+absent, "", ""))
	}
	first := f.requireStatus(http.StatusOK, f.get(invitations+"?limit=1"))
	require.NotEmpty(t, f.items(f.get(invitations+"?cursor="+first["next_cursor"].(string)), "id"))
	f.clock.advance(time.Hour)
	require.Equal(t, http.StatusNoContent, f.send(http.MethodDelete, owners, "", "").status)
}
