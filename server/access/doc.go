// Package access tells who calls: it terminates TLS, reloads certificates and
// tokens as their files change, and names the tenant that a call is of. What a
// tenant may do is the server's affair.
package access
