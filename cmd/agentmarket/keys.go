package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/marketplace"
)

// platformOrg is the organization of the operators' keys.
const platformOrg = "platform"

// onThisComputer is who uses the command line. Whoever can reads the database's
// credentials, and is an operator by that.
var onThisComputer = audit.Actor{Kind: audit.KindOperator, ID: "command line"}

// directory is where organizations and their keys are kept.
type directory interface {
	marketplace.OrganizationStore
	marketplace.KeyStore
}

// makeKey carries out the commands that print an API key. They are the only way
// to the first key of an organization and to every key of an operator.
func makeKey(ctx context.Context, store directory, args []string, now time.Time, out io.Writer) error {
	switch args[0] + " " + args[1] {
	case "org create":
		return createOrganization(ctx, store, args[2], now, out)
	case "org key":
		org, err := store.OrganizationByName(ctx, args[2])
		if err != nil {
			return err
		}
		return printKey(ctx, store, org, "owner", marketplace.RoleOwner, marketplace.AllScopes(), now, out)
	case "operator key":
		return createOperatorKey(ctx, store, args[2], now, out)
	}
	return errUsage
}

// createOrganization makes an organization with its first key.
func createOrganization(ctx context.Context, store directory, name string, now time.Time, out io.Writer) error {
	org, err := marketplace.NewOrganization(name, now)
	if err != nil {
		return err
	}
	if err := store.CreateOrganization(ctx, onThisComputer, org); err != nil {
		return err
	}
	return printKey(ctx, store, org, "first key", marketplace.RoleOwner, marketplace.AllScopes(), now, out)
}

// operatorScopes are those that an operator has a use for: he neither publishes
// nor runs agents.
func operatorScopes() []marketplace.Scope {
	return []marketplace.Scope{
		marketplace.ScopePlatform, marketplace.ScopeAgentsRead, marketplace.ScopeOrgRead,
		marketplace.ScopeBillingRead, marketplace.ScopeBillingWrite, marketplace.ScopeAuditRead,
	}
}

// createOperatorKey makes a key of an operator, and the organization of the
// operators with the first one. name is the key's.
func createOperatorKey(ctx context.Context, store directory, name string, now time.Time, out io.Writer) error {
	if marketplace.CheckText(name, "/name", marketplace.MaxKeyName) != nil {
		return fmt.Errorf("the name of a key is 1 to %d characters on one line", marketplace.MaxKeyName)
	}
	org, err := store.OrganizationByName(ctx, platformOrg)
	if fault.Is(err, fault.NotFound) {
		if org, err = marketplace.NewOrganization(platformOrg, now); err == nil {
			err = store.CreateOrganization(ctx, onThisComputer, org)
		}
	}
	if err != nil {
		return err
	}
	return printKey(ctx, store, org, name, marketplace.RoleOperator, operatorScopes(), now, out)
}

// printKey makes a key and prints it, the only time that it can be read.
func printKey(ctx context.Context, store directory, org marketplace.Organization, name string,
	role marketplace.Role, scopes []marketplace.Scope, now time.Time, out io.Writer,
) error {
	key, token := marketplace.NewAPIKey(org.ID, name, role, scopes, now)
	if err := store.CreateAPIKey(ctx, onThisComputer, key); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "organization %s (%s)\nAPI key of the role %s, shown this once: %s\n", org.Name, org.ID, role, token.Reveal())
	return err
}
