package egress

import (
	"strconv"
	"strings"

	"agentmarket/agentruntime"
	"agentmarket/fault"
)

// maxShown bounds what is recorded of a target that is none.
const maxShown = 100

// shown makes what an agent sent fit for the record.
func shown(target string) string {
	printable := func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}
	target = strings.Map(printable, target[:min(len(target), 4*maxShown)])
	return target[:min(len(target), maxShown)]
}

// parseTarget reads the target of a CONNECT: HOST:PORT, with a host as in manifests. An
// address is none, in whatever notation, and neither is a name that ends with a dot.
func parseTarget(target string) (host string, port uint16, err error) {
	host, text, found := strings.Cut(target, ":")
	number, err := strconv.ParseUint(text, 10, 16)
	host = strings.ToLower(host)
	if !found || err != nil || number == 0 || strings.Contains(host, "*") || !agentruntime.ValidEgress(host+":"+text) {
		return "", 0, fault.New(fault.Invalid, "egress_target_invalid", "the target of CONNECT must be HOST:PORT, with a host name as in manifests")
	}
	return host, uint16(number), nil
}
