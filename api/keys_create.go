package api

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"agentmarket/fault"
	"agentmarket/marketplace"
)

type (
	createKeyRequest struct {
		Name      string   `json:"name,omitempty" minLength:"1" maxLength:"100" doc:"For people. Required for a program's key." example:"nightly build"`
		Personal  bool     `json:"personal,omitempty" doc:"Makes a key for yourself."`
		Role      string   `json:"role,omitempty" enum:"owner,admin,publisher,member,auditor" doc:"Required for a program's key; a personal one has that of the membership."`
		Scopes    []string `json:"scopes,omitempty" minItems:"1" maxItems:"20" uniqueItems:"true" enum:"agents:read,agents:write,runs:read,runs:write,organization:read,organization:write,billing:read,billing:write,audit:read" doc:"Required for a program's key; default for a personal one: those of the caller." example:"[\"agents:read\", \"runs:write\"]"`
		ExpiresAt string   `json:"expires_at,omitempty" format:"date-time" minLength:"20" maxLength:"40" doc:"Default: never." example:"2027-01-01T00:00:00Z"`
	}
	createKeyInput struct {
		Org  string `path:"org" maxLength:"40" example:"acme"`
		Body createKeyRequest
	}
)

// personalKeyName is that of personal keys without another one.
const personalKeyName = "personal key"

func (a *app) createKey(ctx context.Context, in *createKeyInput) (*newKeyAnswer, error) {
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	create := programKey
	if in.Body.Personal {
		create = personalKey
	}
	key, err := create(ctx, in.Body)
	if err != nil {
		return nil, err
	}
	if err := marketplace.CheckText(key.Name, "/name", marketplace.MaxKeyName); err != nil {
		return nil, err
	}
	if err := withinOwn(ctx, key.Scopes, "/scopes"); err != nil {
		return nil, err
	}
	now := a.Now()
	expires, err := parseTime("/expires_at", in.Body.ExpiresAt)
	if err != nil {
		return nil, err
	}
	if !expires.IsZero() && !expires.After(now) {
		return nil, requestInvalid(fault.Field{Pointer: "/expires_at", Message: "must be in the future"})
	}
	made, token := marketplace.NewAPIKey(org.ID, key.Name, key.Role, key.Scopes, now)
	made.UserID, made.ExpiresAt = key.UserID, expires
	if err := a.Marketplace.CreateAPIKey(ctx, actor(ctx), made); err != nil {
		return nil, err
	}
	return a.newKey(org, made, token), nil
}

// programKey is what a key for a program is to have.
func programKey(ctx context.Context, body createKeyRequest) (marketplace.APIKey, error) {
	if err := permitted(requestOf(ctx).caller, marketplace.ActKeysManage); err != nil {
		return marketplace.APIKey{}, err
	}
	var missing []fault.Field
	for _, member := range []struct {
		pointer string
		absent  bool
	}{{"/name", body.Name == ""}, {"/role", body.Role == ""}, {"/scopes", len(body.Scopes) == 0}} {
		if member.absent {
			missing = append(missing, fault.Field{Pointer: member.pointer, Message: "is required for the key of a program"})
		}
	}
	if len(missing) > 0 {
		return marketplace.APIKey{}, requestInvalid(missing...)
	}
	role := marketplace.Role(body.Role)
	return marketplace.APIKey{Name: body.Name, Role: role, Scopes: scopesOf(body)}, mayGive(ctx, role, "/role")
}

// personalKey is what a key of the caller herself is to have.
func personalKey(ctx context.Context, body createKeyRequest) (marketplace.APIKey, error) {
	who := requestOf(ctx).caller
	if who.UserID == "" {
		return marketplace.APIKey{}, fault.New(fault.Forbidden, "person_required", "only a member has personal keys; this API key is a program's")
	}
	if body.Role != "" {
		return marketplace.APIKey{}, requestInvalid(fault.Field{Pointer: "/role", Message: "is that of the membership for a personal key"})
	}
	key := marketplace.APIKey{Name: cmp.Or(body.Name, personalKeyName), UserID: who.UserID, Role: who.Role, Scopes: scopesOf(body)}
	if len(key.Scopes) == 0 {
		key.Scopes = who.Scopes
	}
	return key, nil
}

func scopesOf(body createKeyRequest) []marketplace.Scope {
	var scopes []marketplace.Scope
	for _, s := range body.Scopes {
		scopes = append(scopes, marketplace.Scope(s))
	}
	return scopes
}

// withinOwn returns nil when the caller has all of the scopes itself. The pointer
// is where the request lists them; empty: it does not.
func withinOwn(ctx context.Context, scopes []marketplace.Scope, pointer string) error {
	own := requestOf(ctx).caller.Scopes
	var fields []fault.Field
	exceeded := false
	for i, s := range scopes {
		if slices.Contains(own, s) {
			continue
		}
		exceeded = true
		if pointer != "" {
			fields = append(fields, fault.Field{Pointer: pointer + "/" + strconv.Itoa(i), Message: "is a scope that you do not have"})
		}
	}
	if !exceeded {
		return nil
	}
	return fault.New(fault.Forbidden, "rights_exceeded", "the key would have scopes that you do not have").WithFields(fields...)
}
