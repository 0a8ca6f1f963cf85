package api

import (
	"context"
	"net/http"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
)

// keyBody is an API key without its secret, which is not kept.
type keyBody struct {
	ID         string     `json:"id" example:"key_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	Name       string     `json:"name" example:"nightly build"`
	Prefix     string     `json:"prefix" doc:"The public part of the key, amk_<prefix>_…" example:"0123456789ab"`
	Role       string     `json:"role" doc:"Of a personal key: that of the membership." example:"member"`
	UserID     string     `json:"user_id,omitempty" doc:"Whose personal key it is; absent for a program's."`
	Scopes     []string   `json:"scopes" example:"[\"agents:read\", \"runs:write\"]"`
	Status     string     `json:"status" doc:"active, expired or revoked." example:"active"`
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  *time.Time `json:"expires_at,omitempty" doc:"Absent: never."`
	RevokedAt  *time.Time `json:"revoked_at,omitempty"`
	LastUsedAt *time.Time `json:"last_used_at,omitempty" doc:"Exact to a minute; absent: never."`
	RotatedTo  string     `json:"rotated_to,omitempty" doc:"The key that takes its place."`
	URLs       selfURL    `json:"urls"`
}

// newKeyBody is a key with its token.
type newKeyBody struct {
	APIKey keyBody `json:"api_key"`
	Token  string  `json:"token" doc:"The API key itself. Shown once: nobody can read it again." example:"amk_0123456789ab_…"`
}

func (a *app) keyBody(org marketplace.Organization, k marketplace.APIKey) keyBody {
	status := "active"
	switch {
	case !k.RevokedAt.IsZero():
		status = "revoked"
	case expired(k, a.Now()):
		status = "expired"
	}
	return keyBody{
		ID: string(k.ID), Name: k.Name, Prefix: k.Prefix, Role: string(k.Role), UserID: string(k.UserID),
		Scopes: textsOf(k.Scopes), Status: status, CreatedAt: k.CreatedAt.UTC(), ExpiresAt: when(k.ExpiresAt),
		RevokedAt: when(k.RevokedAt), LastUsedAt: when(k.LastUsedAt), RotatedTo: string(k.RotatedTo),
		URLs: selfURL{organizationPath(org.Name) + "/api-keys/" + string(k.ID)},
	}
}

func expired(k marketplace.APIKey, now time.Time) bool {
	return !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt)
}

type (
	keyInput struct {
		Org string `path:"org" maxLength:"40" example:"acme"`
		ID  string `path:"id" example:"key_01jd3m0f9zq4x8v5c7n2b6k1ta"`
	}
	rotateRequest struct {
		OverlapSeconds *int64 `json:"overlap_seconds,omitempty" minimum:"0" maximum:"2592000" doc:"For how long the old key still works. Default: one day." example:"3600"`
	}
	rotateInput struct {
		Org  string `path:"org" maxLength:"40" example:"acme"`
		ID   string `path:"id" example:"key_01jd3m0f9zq4x8v5c7n2b6k1ta"`
		Body *rotateRequest
	}
	newKeyAnswer struct {
		Location string `header:"Location" doc:"The key."`
		Body     newKeyBody
	}
	keyAnswer  struct{ Body keyBody }
	keysAnswer struct{ Body page[keyBody] }
)

func (a *app) routeKeys() {
	handle(a, route{
		id: "create-api-key", method: http.MethodPost, path: "/v1/organizations/{org}/api-keys", tag: tagOrganization,
		action: marketplace.ActKeysRotate, status: http.StatusCreated, summary: "Make an API key",
		description: "For a program, by those who manage keys; or, with personal, for yourself, in the role of your membership. " +
			"No key has more rights than the one who makes it.",
		problems: []string{"organization_not_found", "rights_exceeded", "person_required", "too_many"},
	}, a.createKey)
	handle(a, route{
		id: "list-api-keys", method: http.MethodGet, path: "/v1/organizations/{org}/api-keys", tag: tagOrganization,
		action: marketplace.ActOrganizationRead, summary: "List the API keys of an organization, without their secrets",
		problems: []string{"organization_not_found", "cursor_invalid"},
	}, a.listKeys)
	handle(a, route{
		id: "get-api-key", method: http.MethodGet, path: "/v1/organizations/{org}/api-keys/{id}", tag: tagOrganization,
		action: marketplace.ActOrganizationRead, summary: "Get an API key, without its secret",
		problems: []string{"organization_not_found", "key_not_found"},
	}, a.getKey)
	handle(a, route{
		id: "revoke-api-key", method: http.MethodDelete, path: "/v1/organizations/{org}/api-keys/{id}", tag: tagOrganization,
		action: marketplace.ActKeysRotate, status: http.StatusNoContent, summary: "End an API key at once",
		description: "Your own, or, for those who manage keys, another one. A second call changes nothing.",
		problems:    []string{"organization_not_found", "key_not_found", "rights_exceeded"},
	}, a.revokeKey)
	handle(a, route{
		id: "rotate-api-key", method: http.MethodPost, path: "/v1/organizations/{org}/api-keys/{id}/rotate", tag: tagOrganization,
		action: marketplace.ActKeysRotate, status: http.StatusCreated, optionalBody: true, summary: "Renew an API key",
		description: "Answers with a new key of the same rights and the same end. The old one works for the overlap, so that programs can be moved. " +
			"Your own, or, for those who manage keys, that of a program.",
		problems: []string{"organization_not_found", "key_not_found", "rights_exceeded", "key_state", "too_many"},
	}, a.rotateKey)
}

// key finds a key of an organization of the caller's.
func (a *app) key(ctx context.Context, name, id string) (marketplace.Organization, marketplace.APIKey, error) {
	org, err := a.organization(ctx, name)
	if err == nil {
		err = known(ids.PrefixKey, id, "key")
	}
	if err != nil {
		return marketplace.Organization{}, marketplace.APIKey{}, err
	}
	key, err := a.Marketplace.APIKey(ctx, org.ID, ids.Key(id))
	return org, key, err
}

func (a *app) listKeys(ctx context.Context, in *orgListInput) (*keysAnswer, error) {
	before, err := decodeCursor[ids.Key](ids.PrefixKey, in.Cursor)
	if err != nil {
		return nil, err
	}
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	found, err := a.Marketplace.APIKeys(ctx, org.ID, before, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return &keysAnswer{pageOf(found, in.Limit, func(k marketplace.APIKey) ids.Key { return k.ID },
		func(k marketplace.APIKey) keyBody { return a.keyBody(org, k) })}, nil
}

func (a *app) getKey(ctx context.Context, in *keyInput) (*keyAnswer, error) {
	org, key, err := a.key(ctx, in.Org, in.ID)
	if err != nil {
		return nil, err
	}
	return &keyAnswer{a.keyBody(org, key)}, nil
}

func (a *app) revokeKey(ctx context.Context, in *keyInput) (*emptyAnswer, error) {
	org, key, err := a.key(ctx, in.Org, in.ID)
	if err != nil {
		return nil, err
	}
	if err := mayEnd(ctx, key); err != nil {
		return nil, err
	}
	return nil, a.Marketplace.RevokeAPIKey(ctx, actor(ctx), org.ID, key.ID, a.Now())
}

func (a *app) rotateKey(ctx context.Context, in *rotateInput) (*newKeyAnswer, error) {
	org, key, err := a.key(ctx, in.Org, in.ID)
	if err != nil {
		return nil, err
	}
	if err := mayRotate(ctx, key); err != nil {
		return nil, err
	}
	overlap := marketplace.DefaultOverlap
	if in.Body != nil && in.Body.OverlapSeconds != nil {
		overlap = time.Duration(*in.Body.OverlapSeconds) * time.Second
	}
	now := a.Now()
	if expired(key, now) {
		return nil, fault.New(fault.Conflict, "key_state", "the API key has expired; make another one")
	}
	next, token, old := key.Rotate(overlap, now)
	if err := a.Marketplace.RotateAPIKey(ctx, actor(ctx), old, next); err != nil {
		return nil, err
	}
	return a.newKey(org, next, token), nil
}

func (a *app) newKey(org marketplace.Organization, key marketplace.APIKey, token marketplace.Token) *newKeyAnswer {
	answer := &newKeyAnswer{Body: newKeyBody{a.keyBody(org, key), token.Reveal()}}
	answer.Location = answer.Body.APIKey.URLs.Self
	return answer
}

// isOwn reports whether a key is that of the request, or another one of the same
// person.
func isOwn(ctx context.Context, key marketplace.APIKey) bool {
	who := requestOf(ctx).caller
	return key.ID == who.KeyID || key.UserID != "" && key.UserID == who.UserID && key.OrgID == who.OrgID
}

// mayEnd returns nil when the caller may end a key: its own, or as one who
// manages keys that of somebody whose role it may take.
func mayEnd(ctx context.Context, key marketplace.APIKey) error {
	if isOwn(ctx, key) {
		return nil
	}
	if err := permitted(requestOf(ctx).caller, marketplace.ActKeysManage); err != nil {
		return err
	}
	return mayGive(ctx, key.Role, "")
}

// mayRotate returns nil when the caller may have the secret of the key that takes
// the place of another one: whoever has it has the key's rights, and is taken for
// its person.
func mayRotate(ctx context.Context, key marketplace.APIKey) error {
	if err := mayEnd(ctx, key); err != nil {
		return err
	}
	if key.UserID != "" && !isOwn(ctx, key) {
		return fault.New(fault.Forbidden, "rights_exceeded", "a personal key is renewed by its person; others can only end it")
	}
	return withinOwn(ctx, key.Scopes, "")
}
