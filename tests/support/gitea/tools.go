//go:build tools

// Package gitea pins the Gitea server that tests run against; go.sum holds the hash of every module in it.
package gitea

import _ "code.gitea.io/gitea"
