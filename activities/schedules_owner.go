package activities

import (
	"context"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// Principals finds who may do something now, see marketplace.KeyStore and
// marketplace.MemberStore.
type Principals interface {
	APIKey(ctx context.Context, org ids.Org, id ids.Key) (marketplace.APIKey, error)
	Member(ctx context.Context, org ids.Org, user ids.User) (marketplace.Member, error)
}

// codeOwnerGone is the code of a schedule under whose owner no run may be started
// any more.
const codeOwnerGone = "schedule_owner_gone"

// maxRotations bounds how many rotations of a key are followed.
const maxRotations = 1000

// owner is the principal under whose rights a schedule starts runs, as they are
// now. One that may not start runs any more is fault.Forbidden.
func (a *Schedules) owner(ctx context.Context, s product.Schedule) (marketplace.Principal, error) {
	owner := marketplace.Principal{OrgID: s.OrgID, UserID: s.UserID, Scopes: marketplace.AllScopes()}
	if s.KeyID != "" {
		key, err := a.key(ctx, s.OrgID, s.KeyID)
		if err != nil {
			return marketplace.Principal{}, err
		}
		owner = key.Principal()
	}
	if owner.UserID != "" {
		member, err := a.People.Member(ctx, s.OrgID, owner.UserID)
		if fault.Is(err, fault.NotFound) {
			return marketplace.Principal{}, gone("the person under whose rights it runs is no member any more")
		}
		if err != nil {
			return marketplace.Principal{}, err
		}
		owner.Role, owner.Teams = member.Role, member.Teams
	}
	if err := owner.Require(marketplace.ActRunsStart); err != nil {
		return marketplace.Principal{}, gone("whom it belongs to may not start runs any more: " + fault.From(err).Message)
	}
	return owner, nil
}

// key finds the key of a schedule, or the one that has taken its place.
func (a *Schedules) key(ctx context.Context, org ids.Org, id ids.Key) (marketplace.APIKey, error) {
	for range maxRotations {
		key, err := a.People.APIKey(ctx, org, id)
		switch {
		case fault.Is(err, fault.NotFound):
			return marketplace.APIKey{}, gone("the API key under whose rights it runs is not there any more")
		case err != nil:
			return marketplace.APIKey{}, err
		case key.RotatedTo != "":
			id = key.RotatedTo
			continue
		}
		return key, usable(key, a.Now())
	}
	return marketplace.APIKey{}, gone("the API key under whose rights it runs was rotated too often")
}

// usable is what [marketplace.APIKey.Verify] says of the right secret.
func usable(key marketplace.APIKey, now time.Time) error {
	switch {
	case !key.RevokedAt.IsZero() && !now.Before(key.RevokedAt):
		return gone("the API key under whose rights it runs was revoked")
	case !key.ExpiresAt.IsZero() && !now.Before(key.ExpiresAt):
		return gone("the API key under whose rights it runs has expired")
	}
	return nil
}

func gone(message string) error { return fault.New(fault.Forbidden, codeOwnerGone, message) }
