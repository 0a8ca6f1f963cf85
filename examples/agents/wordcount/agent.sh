#!/bin/sh
# wordcount counts lines, words and bytes of the string under "text" in its
# input, or of the whole input where there is no such string.
#
# The input is JSON, and a shell has no JSON. So od turns the bytes into numbers
# and awk walks over them once: it follows strings, escapes and nesting, and
# counts the decoded text as it goes. No text ever passes through a shell
# variable, so none can be executed or cut. It needs sh, od and awk only.
set -eu

# A failure of od on the left of a pipe would go unseen.
[ -r "$AGENT_INPUT" ] || { echo "wordcount: cannot read the input" >&2; exit 1; }

od -An -v -tu1 "$AGENT_INPUT" | LC_ALL=C awk '
# count takes one decoded byte (or b = -1: one that is certainly part of a word,
# size bytes long).
function count(b, size) {
	bytes += size
	last = b
	if (b == 10) lines++
	if (b == 32 || b >= 9 && b <= 13) inword = 0
	else if (!inword) { inword = 1; words++ }
}
function hex(b) {
	if (b >= 48 && b <= 57) return b - 48
	if (b >= 65 && b <= 70) return b - 55
	return b - 87
}
# escaped counts a code unit of \uXXXX. Two halves of a surrogate pair are two
# bytes each, which makes the four of the character. A half without its other
# half counts two as well, where a decoder would write U+FFFD.
function escaped(u) {
	if (u < 128) count(u, 1)
	else if (u < 2048 || u >= 55296 && u <= 57343) count(-1, 2)
	else count(-1, 3)
}
# begin_text starts the counts of a string under "text" anew.
function begin_text() { bytes = lines = words = inword = 0; last = -2; intext = 1 }

function walk(b) {
	if (!instring) {
		if (b == 34) {                                  # "
			instring = 1
			key = ""
			if (depth == 1 && object && value && name == "text") { begin_text(); found = 1 }
		} else if (b == 123 || b == 91) {               # { [
			if (depth == 0) object = (b == 123)
			# A later "text" replaces an earlier one, as JSON parsers do it.
			if (depth == 1 && value && name == "text") found = 0
			depth++
		} else if (b == 125 || b == 93) depth--         # } ]
		else if (b == 58 && depth == 1) { value = 1; name = key }  # :
		else if (b == 44 && depth == 1) value = 0       # ,
		else if (b > 32 && depth == 1 && value && name == "text") found = 0
		return
	}
	if (digits > 0) {                                       # of \uXXXX
		unit = unit * 16 + hex(b)
		if (--digits == 0) {
			if (intext) escaped(unit)
			else if (length(key) < 8) key = key (unit < 128 ? sprintf("%c", unit) : "?")
		}
		return
	}
	if (escape) {
		escape = 0
		if (b == 117) { digits = 4; unit = 0; return }  # u
		if (b in escapes) b = escapes[b]
	} else if (b == 92) { escape = 1; return }              # backslash
	else if (b == 34) {                                     # "
		instring = 0
		if (intext) { intext = 0; text_bytes = bytes; text_words = words; text_lines = lines + (bytes > 0 && last != 10) }
		return
	}
	if (intext) count(b, 1)
	else if (length(key) < 8) key = key sprintf("%c", b)
}
BEGIN {
	escapes[98] = 8; escapes[102] = 12; escapes[110] = 10; escapes[114] = 13; escapes[116] = 9
}
{
	for (i = 1; i <= NF; i++) {
		b = $i + 0
		walk(b)
		# The whole input, for the case that there is no text.
		all_bytes++
		if (b == 10) all_lines++
		if (b == 32 || b >= 9 && b <= 13) all_inword = 0
		else if (!all_inword) { all_inword = 1; all_words++ }
		all_last = b
	}
}
END {
	if (found) printf "{\"counted\":\"text\",\"lines\":%d,\"words\":%d,\"bytes\":%d}\n", text_lines, text_words, text_bytes
	else printf "{\"counted\":\"input\",\"lines\":%d,\"words\":%d,\"bytes\":%d}\n", all_lines + (all_bytes > 0 && all_last != 10), all_words, all_bytes
}'
