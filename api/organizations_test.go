package api_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/marketplace"
)

func TestMe(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	program := f.requireStatus(http.StatusOK, f.get("/v1/me"))
	require.Equal(t, map[string]any{
		"id": string(f.org.ID), "name": "acme", "created_at": "2026-11-22T12:00:00Z",
		"urls": map[string]any{"self": "/v1/organizations/acme"},
	}, program["organization"])
	require.Equal(t, "owner", program["role"])
	require.Len(t, program["scopes"], len(marketplace.AllScopes()))
	require.NotContains(t, program, "member")
	require.Equal(t, f.token[4:16], program["api_key"].(map[string]any)["prefix"])

	ada, token := f.person(f.org.ID, "ada@example.com", marketplace.RolePublisher)
	person := f.requireStatus(http.StatusOK, f.send(http.MethodGet, "/v1/me", "", token))
	require.Equal(t, "publisher", person["role"])
	require.Equal(t, map[string]any{
		"user_id": string(ada.User.ID), "email": "ada@example.com", "name": "Ada Lovelace", "role": "publisher", "teams": []any{},
		"joined_at": "2026-11-22T12:00:00Z",
		"urls":      map[string]any{"self": "/v1/organizations/acme/members/" + string(ada.User.ID)},
	}, person["member"])
	require.Equal(t, string(ada.User.ID), person["api_key"].(map[string]any)["user_id"])

	narrow := f.key(f.org.ID, nil, marketplace.ScopeOrgRead)
	require.Equal(t, []any{"organization:read"}, f.send(http.MethodGet, "/v1/me", "", narrow).json(t)["scopes"])
	require.Equal(t, "operator", f.send(http.MethodGet, "/v1/me", "", f.operator()).json(t)["role"])
}

func TestOrganization(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	other, stranger := f.organization("stranger")
	require.Equal(t, string(f.org.ID), f.get("/v1/organizations/acme").json(t)["id"])
	foreign, unknown := f.get("/v1/organizations/stranger"), f.get("/v1/organizations/nobody")
	requireProblem(t, want{404, "organization_not_found", "There is no such organization", "there is no organization stranger", nil, nil, nil},
		"/v1/organizations/stranger", foreign)
	requireProblem(t, want{404, "organization_not_found", "There is no such organization", "there is no organization nobody", nil, nil, nil},
		"/v1/organizations/nobody", unknown)
	f.requireStatus(http.StatusOK, f.send(http.MethodGet, "/v1/organizations/stranger", "", stranger))
	byOperator := f.requireStatus(http.StatusOK, f.send(http.MethodGet, "/v1/organizations/stranger", "", f.operator()))
	require.Equal(t, string(other.ID), byOperator["id"])
}

func TestPlatformOrganizations(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	operator := f.operator()
	const path = "/v1/platform/organizations"
	got := f.send(http.MethodPost, path, `{"name":"globex"}`, operator)
	made := f.requireStatus(http.StatusCreated, got)
	require.Equal(t, "/v1/organizations/globex", got.header.Get("Location"))
	require.Equal(t, "owner", made["api_key"].(map[string]any)["role"])
	first := made["token"].(string)
	require.Equal(t, "globex", f.requireStatus(http.StatusOK, f.send(http.MethodGet, "/v1/organizations/globex", "", first))["name"])
	require.Equal(t, []string{"globex", "platform", "acme"}, f.items(f.send(http.MethodGet, path, "", operator), "name"))
	page := f.requireStatus(http.StatusOK, f.send(http.MethodGet, path+"?limit=2", "", operator))
	require.Equal(t, []string{"acme"}, f.items(f.send(http.MethodGet, path+"?cursor="+page["next_cursor"].(string), "", operator), "name"))

	f.requireCode(http.StatusConflict, "organization_taken", f.send(http.MethodPost, path, `{"name":"globex"}`, operator))
	for body, pointer := range map[string]string{
		`{}`: "/name", `{"name":""}`: "/name", `{"name":"Globex"}`: "/name", `{"name":"a-"}`: "/name", `{"name":7}`: "/name",
		`{"name":"a/b"}`: "/name", `{"name":"x","role":"operator"}`: "/role",
		`{"name":"abcdefghijklmnopqrstuvwxyzabcdefghijklmno"}`: "/name",
	} {
		f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.send(http.MethodPost, path, body, operator), pointer)
	}
	f.requireCode(http.StatusForbidden, "role_missing", f.post(path, `{"name":"initech"}`))
	f.requireCode(http.StatusForbidden, "role_missing", f.get(path))
}
