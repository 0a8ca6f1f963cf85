package product

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"agentmarket/fault"
	"agentmarket/ids"
)

// The bounds of a secret, in bytes before they are encoded.
const (
	secretPrefix    = "whsec_"
	newSecretBytes  = 32
	minSecretBytes  = 24
	maxSecretBytes  = 64
	maxSecretLength = len(secretPrefix) + (maxSecretBytes+2)/3*4
)

// NewEndpoint returns an endpoint with a fresh identifier and, where none is
// given, a fresh secret. insecure is as in [CheckWebhookURL].
func NewEndpoint(org ids.Org, address, secret string, insecure bool, now time.Time) (Endpoint, error) {
	if err := CheckWebhookURL(address, insecure); err != nil {
		return Endpoint{}, err
	}
	e := Endpoint{
		ID: ids.New[ids.Endpoint](ids.PrefixEndpoint), OrgID: org, URL: address,
		Secret: WebhookSecret(secret), CreatedAt: now, UpdatedAt: now,
	}
	if secret == "" {
		e.Secret = NewWebhookSecret()
	} else if err := CheckWebhookSecret(secret); err != nil {
		return Endpoint{}, err
	}
	return e, nil
}

// NewDelivery returns a message to an endpoint that is to be sent.
func NewDelivery(to Endpoint, run ids.Run, event WebhookEvent, payload []byte, now time.Time) Delivery {
	return Delivery{
		ID: ids.New[ids.Delivery](ids.PrefixDelivery), EndpointID: to.ID, OrgID: to.OrgID, RunID: run,
		Event: event, Payload: payload, Status: DeliveryPending, CreatedAt: now,
	}
}

// Wants reports whether an endpoint is told of a type of message.
func (e Endpoint) Wants(event WebhookEvent) bool {
	return len(e.Events) == 0 || slices.Contains(e.Events, event)
}

// CheckWebhookURL checks the address of an endpoint: https, a host and at most
// MaxWebhookURL bytes, without credentials and without a fragment. insecure allows
// http. It says nothing of where the host is: that is known when it is connected
// to. Errors are fault.Invalid at /url.
func CheckWebhookURL(text string, insecure bool) error {
	if len(text) > MaxWebhookURL {
		return webhookInvalid("/url", fmt.Sprintf("must have at most %d bytes", MaxWebhookURL))
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || !utf8.ValidString(text) || strings.ContainsAny(text, " \\"):
		return webhookInvalid("/url", "is not a URL") // what the parser says would repeat it
	case u.Scheme != "https" && (!insecure || u.Scheme != "http"):
		return webhookInvalid("/url", "must begin with https://")
	case u.Hostname() == "" || !validPort(u.Port()):
		return webhookInvalid("/url", "must have a host, and a port from 1 to 65535 where it has one")
	case u.User != nil:
		return webhookInvalid("/url", "must not have a user name or a password; messages are signed")
	case strings.Contains(text, "#"):
		return webhookInvalid("/url", "must not have a fragment")
	}
	return nil
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

// NewWebhookSecret makes a key of random bytes.
func NewWebhookSecret() WebhookSecret {
	key := make([]byte, newSecretBytes)
	_, _ = rand.Read(key) // it never fails
	return WebhookSecret(secretPrefix + base64.StdEncoding.EncodeToString(key))
}

// CheckWebhookSecret checks a key that somebody brings along: whsec_ and 24 to 64
// bytes in base64. Errors are fault.Invalid at /secret.
func CheckWebhookSecret(text string) error {
	body, found := strings.CutPrefix(text, secretPrefix)
	key, err := base64.StdEncoding.Strict().DecodeString(body)
	if !found || len(text) > maxSecretLength || strings.ContainsAny(body, "\r\n") || err != nil ||
		len(key) < minSecretBytes || len(key) > maxSecretBytes {
		return webhookInvalid("/secret", fmt.Sprintf("must be %s and %d to %d bytes in base64", secretPrefix, minSecretBytes, maxSecretBytes))
	}
	return nil
}

func webhookInvalid(pointer, message string) error {
	return fault.New(fault.Invalid, "request_invalid", "the request is not valid").
		WithFields(fault.Field{Pointer: pointer, Message: message})
}
