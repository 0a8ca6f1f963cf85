// Package webhooks sends messages to the addresses that customers name, by the
// Standard Webhooks specification (https://www.standardwebhooks.com):
//
//	POST URL
//	webhook-id: msg_…            the same in every try of a delivery
//	webhook-timestamp: …         of this try
//	webhook-signature: v1,…      HMAC-SHA256 of both and of the body
//
// It makes one request and judges nothing: when to try again, and what an answer
// means, is decided in workflows and product. Customers choose whom the platform
// speaks to, so it follows no redirect, takes no proxy and connects to public
// addresses only.
package webhooks
