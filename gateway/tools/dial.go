package tools

import (
	"net/http"
	"net/netip"

	"agentmarket/publicnet"
)

// PublicClient connects to public addresses only, and to none of the platform's own
// networks: for servers that strangers name.
func PublicClient(private ...netip.Prefix) *http.Client {
	return client(publicnet.Transport(private...))
}

// AnyClient connects to any address: for servers that operators name.
func AnyClient() *http.Client { return client(publicnet.AnyTransport()) }

func client(transport *http.Transport) *http.Client {
	transport.ResponseHeaderTimeout = 0 // a tool takes as long as its server may
	return &http.Client{Transport: transport}
}
