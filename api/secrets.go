package api

import (
	"context"
	"net/http"
	"time"

	"agentmarket/marketplace"
)

// Vault seals the values of secrets, see package secrets.
type Vault interface {
	Seal(value []byte, place string) ([]byte, error)
}

type (
	putSecretRequest struct {
		Value string `json:"value" minLength:"1" maxLength:"32768" doc:"At most 32 KiB. It is encrypted, and never shown again." example:"s3cr3t"`
	}
	secretInput struct {
		Org  string `path:"org" maxLength:"40" example:"acme"`
		Name string `path:"secret" maxLength:"64" example:"TRACKER_TOKEN"`
	}
	putSecretInput struct {
		Org  string `path:"org" maxLength:"40" example:"acme"`
		Name string `path:"secret" maxLength:"64" example:"TRACKER_TOKEN"`
		Body putSecretRequest
	}
	secretBody struct {
		Name      string    `json:"name" example:"TRACKER_TOKEN"`
		Version   int64     `json:"version" doc:"Counts the values that there were."`
		CreatedAt time.Time `json:"created_at"`
		UpdatedAt time.Time `json:"updated_at"`
	}
	secretAnswer  struct{ Body secretBody }
	secretsAnswer struct{ Body page[secretBody] }
)

const secretsPath = "/v1/organizations/{org}/secrets"

func (a *app) routeSecrets() {
	handle(a, route{
		id: "list-secrets", method: http.MethodGet, path: secretsPath, tag: tagOrganization, action: marketplace.ActSecretsManage,
		summary: "List the secrets of an organization by their names, on one page", description: "Nobody reads their values.",
		problems: []string{"organization_not_found"},
	}, a.listSecrets)
	handle(a, route{
		id: "put-secret", method: http.MethodPut, path: secretsPath + "/{secret}", tag: tagOrganization, action: marketplace.ActSecretsManage,
		summary: "Write a secret, or a new value of it",
		description: "Runs of agents that ask for it, and that the organization consented to, use it. A run that is going on has the new value from then on. " +
			"It belongs into no log: neither this platform nor its audit log keeps the request.",
		problems: []string{"organization_not_found", "secret_name_invalid", "too_many_secrets", "secrets_not_configured"},
	}, a.putSecret)
	handle(a, route{
		id: "get-secret", method: http.MethodGet, path: secretsPath + "/{secret}", tag: tagOrganization, action: marketplace.ActSecretsManage,
		summary: "Get a secret, without its value", problems: []string{"organization_not_found", "secret_not_found"},
	}, a.getSecret)
	handle(a, route{
		id: "delete-secret", method: http.MethodDelete, path: secretsPath + "/{secret}", tag: tagOrganization, action: marketplace.ActSecretsManage,
		status: http.StatusNoContent, summary: "Remove a secret", description: "Runs that ask for it do not start any more, and those that go on do without it.",
		problems: []string{"organization_not_found", "secret_not_found"},
	}, a.deleteSecret)
}

func secretBodyOf(s marketplace.Secret) secretBody {
	return secretBody{Name: s.Name, Version: s.Version, CreatedAt: s.CreatedAt.UTC(), UpdatedAt: s.UpdatedAt.UTC()}
}

func (a *app) listSecrets(ctx context.Context, in *orgInput) (*secretsAnswer, error) {
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	found, err := a.Marketplace.Secrets(ctx, org.ID)
	if err != nil {
		return nil, err
	}
	items := make([]secretBody, len(found))
	for i, s := range found {
		items[i] = secretBodyOf(s)
	}
	return &secretsAnswer{page[secretBody]{Items: items}}, nil
}

func (a *app) putSecret(ctx context.Context, in *putSecretInput) (*secretAnswer, error) {
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	if err := marketplace.CheckSecret(in.Name, in.Body.Value); err != nil {
		return nil, err
	}
	s := marketplace.Secret{OrgID: org.ID, Name: in.Name, UpdatedAt: a.Now()}
	if s.Sealed, err = a.Vault.Seal([]byte(in.Body.Value), s.Place()); err != nil {
		return nil, err
	}
	if s, err = a.Marketplace.PutSecret(ctx, actor(ctx), s); err != nil {
		return nil, err
	}
	return &secretAnswer{secretBodyOf(s)}, nil
}

func (a *app) getSecret(ctx context.Context, in *secretInput) (*secretAnswer, error) {
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	s, err := a.Marketplace.Secret(ctx, org.ID, in.Name)
	if err != nil {
		return nil, err
	}
	return &secretAnswer{secretBodyOf(s)}, nil
}

func (a *app) deleteSecret(ctx context.Context, in *secretInput) (*emptyAnswer, error) {
	org, err := a.organization(ctx, in.Org)
	if err != nil {
		return nil, err
	}
	return nil, a.Marketplace.DeleteSecret(ctx, actor(ctx), org.ID, in.Name, a.Now())
}
