// Package publicnet connects to public addresses only. Whoever lets strangers
// choose whom the platform speaks to (the registry of an image, the receiver of a
// webhook, the hosts of an agent) speaks through it: a name, a redirect or a DNS answer that changes must
// not reach into the platform's own network.
package publicnet
