package loadtest

import (
	"bytes"
	"errors"
	"io"
	"unsafe"

	"github.com/farmspec/farmspec"
)

// maxHead bounds the header of an answer, as farmspec.NewTransport does;
// maxLine bounds a line between chunks.
const (
	maxHead = 256 << 10
	maxLine = 4 << 10
)

var errMalformed = errors.New("malformed HTTP answer")

// answer reads one HTTP/1.1 response (RFC 9112) from the bytes of a
// connection, however they are cut. It is strict where leniency would let one
// response pass for another: what frames a body must be unambiguous.
//
// The bytes are appended to raw, and more is called after each time; it says
// whether the response is whole. What is beyond it is left over, which no
// server may send unasked.
type answer struct {
	raw     []byte
	scanned int // of raw, for the end of the head

	status           int
	location, policy string
	setCookies       []string // parts of raw, good until it is used again
	// keep says that the connection can carry another request.
	keep bool

	started, whole bool
	framing        framing
	body, end      int // raw[body:end] is the body as far as it is decoded
	left           int // bytes of the body or of the chunk that are still to come
	phase          phase
	over           int // bytes after the response
	interim        int
}

type framing uint8

const (
	untilLength framing = iota
	untilLastChunk
	untilClose
)

// phase is where a chunked body is.
type phase uint8

const (
	chunkSize phase = iota
	chunkData
	chunkEnd
	trailer
)

// reset prepares for another response, with the memory of the last.
func (a *answer) reset() {
	*a = answer{raw: a.raw[:0], setCookies: a.setCookies[:0]}
}

// text is the body.
func (a *answer) text() []byte { return a.raw[a.body:a.end] }

// more takes in what was appended to raw. It reports whether the response is
// whole.
func (a *answer) more() (bool, error) {
	for !a.started {
		end := headEnd(a.raw, a.scanned)
		if end < 0 {
			if len(a.raw) > maxHead {
				return false, errMalformed
			}
			a.scanned = max(0, len(a.raw)-3)
			return false, nil
		}
		if end > maxHead {
			return false, errMalformed
		}
		if err := a.head(end); err != nil {
			return false, err
		}
	}
	if a.framing == untilLastChunk {
		return a.chunks()
	}
	n := len(a.raw) - a.end
	if a.framing == untilLength {
		n = min(n, a.left)
		a.left -= n
		a.whole = a.left == 0
	}
	a.end += n
	if a.end-a.body > farmspec.MaxBody {
		return false, errTooLong
	}
	if a.whole {
		a.over = len(a.raw) - a.end
	}
	return a.whole, nil
}

// read takes in that n bytes were appended to raw by a read with such an error.
// It reports whether the response is whole; the error is that it never will be.
func (a *answer) read(n int, err error) (whole bool, failed error) {
	if n > 0 {
		if whole, failed = a.more(); whole || failed != nil {
			return whole, failed
		}
	}
	switch {
	case err == io.EOF && a.closed():
		return true, nil
	case err == io.EOF:
		return false, io.ErrUnexpectedEOF
	}
	return false, err
}

// closed takes in that the connection has ended in order. It reports whether
// that makes the response whole.
func (a *answer) closed() bool { return a.started && a.framing == untilClose }

// headEnd returns the length of the head, from where the search goes on; -1
// where it has no end yet. A line ends with LF (RFC 9112, section 2.2).
func headEnd(raw []byte, from int) int {
	for {
		n := bytes.IndexByte(raw[from:], '\n')
		if n < 0 {
			return -1
		}
		from += n + 1
		switch rest := raw[from:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return from + 1
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return from + 2
		}
	}
}

// head reads status line and fields of raw[:end].
func (a *answer) head(end int) error {
	line, rest := cutLine(a.raw[:end])
	if len(line) < 12 || string(line[:7]) != "HTTP/1." || line[7] != '1' && line[7] != '0' || line[8] != ' ' || len(line) > 12 && line[12] != ' ' {
		return errMalformed
	}
	status := 0
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return errMalformed
		}
		status = 10*status + int(c-'0')
	}
	old := line[7] == '0' // HTTP/1.0 keeps a connection only where it says so
	a.status, a.keep, a.location, a.policy, a.setCookies = status, !old, "", "", a.setCookies[:0]
	length, chunked := -1, false
	for {
		line, rest = cutLine(rest)
		if len(line) == 0 {
			break
		}
		n := nameLength(line)
		if n == 0 || n == len(line) || line[n] != ':' || bytes.IndexByte(line, '\r') >= 0 || bytes.IndexByte(line, 0) >= 0 {
			return errMalformed
		}
		name, value := line[:n], trim(line[n+1:])
		// What is kept is copied: raw is used again.
		switch {
		case is(name, "set-cookie"):
			a.setCookies = append(a.setCookies, unsafe.String(unsafe.SliceData(value), len(value)))
		case is(name, "location"):
			if a.location == "" {
				a.location = string(value)
			}
		case is(name, "referrer-policy"):
			if a.policy == "" {
				a.policy = policyOf(value)
			}
		case is(name, "content-length"):
			n, ok := decimal(value)
			if !ok || length >= 0 && n != length {
				return errMalformed
			}
			length = n
		case is(name, "transfer-encoding"):
			if chunked || !is(value, "chunked") || a.status/100 == 1 {
				return errMalformed
			}
			chunked = true
		case is(name, "connection"):
			for option := range bytes.SplitSeq(value, comma) {
				switch option = trim(option); {
				case is(option, "close"):
					a.keep = false
				case is(option, "keep-alive") && old:
					a.keep = true
				}
			}
		}
	}
	a.body, a.end = end, end
	switch {
	case status < 100 || status == 101:
		return errMalformed
	case status < 200:
		// An interim response comes before the one that counts.
		if a.interim++; a.interim > 5 {
			return errMalformed
		}
		a.raw, a.scanned = append(a.raw[:0], a.raw[end:]...), 0
		return nil
	case chunked && (old || length >= 0):
		return errMalformed // another reader would see another response (RFC 9112, section 6.1)
	case status == 204 || status == 304:
		a.framing, a.left = untilLength, 0
	case chunked:
		a.framing = untilLastChunk
	case length >= 0:
		if length > farmspec.MaxBody {
			return errTooLong
		}
		a.framing, a.left = untilLength, length
	default:
		a.framing, a.keep = untilClose, false
	}
	a.started = true
	return nil
}

var comma = []byte(",")

// cutLine returns the first line, without its end, and what follows.
func cutLine(text []byte) (line, rest []byte) {
	n := bytes.IndexByte(text, '\n')
	line, rest = text[:n], text[n+1:]
	if n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line, rest
}

// is compares a word with one in lower case, ASCII letters of both cases alike.
func is(word []byte, lower string) bool {
	if len(word) != len(lower) {
		return false
	}
	for i, c := range word {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// policyOf is the value as a text; a common one costs no memory.
func policyOf(value []byte) string {
	for _, common := range [...]string{"no-referrer", "same-origin", "strict-origin-when-cross-origin"} {
		if string(value) == common {
			return common
		}
	}
	return string(value)
}

// chunks decodes what there is of a chunked body, in place.
func (a *answer) chunks() (bool, error) {
	in := a.raw[a.end:]
	for !a.whole {
		if a.phase == chunkData {
			n := min(len(in), a.left)
			copy(a.raw[a.end:], in[:n])
			a.end, a.left, in = a.end+n, a.left-n, in[n:]
			if a.left > 0 {
				break
			}
			a.phase = chunkEnd
		}
		n := bytes.IndexByte(in, '\n')
		if n > maxLine || n < 0 && len(in) > maxLine {
			return false, errMalformed
		}
		if n < 0 {
			break
		}
		line := bytes.TrimSuffix(in[:n], []byte("\r"))
		in = in[n+1:]
		switch a.phase {
		case chunkSize:
			size, _, _ := bytes.Cut(line, []byte(";"))
			length, ok := hexadecimal(bytes.TrimRight(size, " \t"))
			if !ok {
				return false, errMalformed
			}
			if length > farmspec.MaxBody-(a.end-a.body) {
				return false, errTooLong
			}
			a.left, a.phase = length, chunkData
			if length == 0 {
				a.phase = trailer
			}
		case chunkEnd:
			if len(line) > 0 {
				return false, errMalformed
			}
			a.phase = chunkSize
		case trailer:
			if len(line) == 0 {
				a.whole, a.over = true, len(in)
			}
			if a.interim++; a.interim > 100 {
				return false, errMalformed
			}
		}
	}
	// What is not decoded yet moves up behind what is.
	a.raw = append(a.raw[:a.end], in...)
	return a.whole, nil
}

// nameLength is how many bytes at the beginning of a line may be in the name of
// a field (RFC 9110, section 5.6.2).
func nameLength(line []byte) int {
	for i, c := range line {
		if !inToken[c] {
			return i
		}
	}
	return len(line)
}

var inToken = func() (in [256]bool) {
	for _, c := range "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" {
		in[c] = true
	}
	return in
}()

// trim cuts blanks off both ends.
func trim(s []byte) []byte {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// decimal reads a length of at most twelve digits.
func decimal(s []byte) (n int, ok bool) {
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, len(s) > 0 && len(s) <= 12
}

// hexadecimal reads a length of at most eight digits.
func hexadecimal(s []byte) (n int, ok bool) {
	for _, c := range s {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		n = n<<4 | int(c)
	}
	return n, len(s) > 0 && len(s) <= 8
}
