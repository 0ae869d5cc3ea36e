# The agent's policy in Vault or OpenBao: what its verbs need, and nothing more. `contain doctor` compares.
#
#   contain grants vault > containment.hcl
#   bao policy write containment containment.hcl
#   bao auth enable -path=containment approle        # a mount of its own, never one that it polices
#   bao write auth/containment/role/agent token_policies=containment token_period=20m \
#       token_bound_cidrs=<this host>/32 secret_id_bound_cidrs=<this host>/32
#
#   bao read -field=role_id auth/containment/role/agent/role-id              # role_id in agent.yaml
#   umask 077; bao write -f -field=secret_id auth/containment/role/agent/secret-id > /etc/containment-agent/vault-secret-id
#
# Replace `containment` below if the agent's AppRole is mounted elsewhere, and name your own mounts where mounts are named.

# Itself: renew its token, and say what it may do.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self"  { capabilities = ["update"] }
path "sys/capabilities-self"  { capabilities = ["update"] }

# Tokens, by accessor. Listing them needs sudo, revoking does not. The agent refuses root tokens by itself; list the
# accessors of break-glass tokens here as well, so that Vault refuses them too:
#   denied_parameters = { "accessor" = ["<accessor>"] }
path "auth/token/accessors"       { capabilities = ["list", "sudo"] }
path "auth/token/lookup-accessor" { capabilities = ["update"] }
path "auth/token/revoke-accessor" { capabilities = ["update"] }

# Entities: look at them, and switch them off and on. Without allowed_parameters, this line would let the agent give any
# policy to anybody. Deny its own entity by id once it has logged in for the first time:
#   path "identity/entity/id/<id>" { capabilities = ["deny"] }
path "identity/lookup/entity" { capabilities = ["update"] }
path "identity/entity/id/*" {
  capabilities       = ["read", "update"]
  allowed_parameters = { "disabled" = [] }
}

# Single leases: all but those that are the agent's own token or root's.
path "sys/leases/lookup" { capabilities = ["update"] }
path "sys/leases/revoke" {
  capabilities      = ["update"]
  denied_parameters = { "lease_id" = ["auth/containment/*", "auth/token/root*"] }
}

# Leases by prefix: one pair of lines for each place where it may be done.
# NEVER sys/leases/revoke-prefix/auth/*: with it, revoking `auth/containment` without a slash at its end is allowed even
# where auth/containment/* is denied, and kills the agent's own token. Name login paths only, and only of methods that put
# each user under a path of his own (userpass, ldap); for AppRoles, all roles share one path.
path "sys/leases/lookup/database/creds/*"             { capabilities = ["list", "sudo"] }
path "sys/leases/revoke-prefix/database/creds/*"      { capabilities = ["update", "sudo"] }
path "sys/leases/lookup/auth/userpass/login/*"        { capabilities = ["list", "sudo"] }
path "sys/leases/revoke-prefix/auth/userpass/login/*" { capabilities = ["update", "sudo"] }

# Users by name: which entity is a user of this mount? Reading how it is mounted needs sudo; changing it stays denied.
path "sys/auth/userpass" { capabilities = ["read", "sudo"] }

# Secret ids of AppRoles, by accessor.
path "auth/approle/role/+/secret-id-accessor/lookup"  { capabilities = ["update"] }
path "auth/approle/role/+/secret-id-accessor/destroy" { capabilities = ["update"] }

# Said out loud, against a wider policy that somebody adds: forgetting leases by force leaves credentials that work and
# that nobody knows of, a sealed Vault can revoke nothing, and who writes policies may do everything.
path "sys/leases/revoke-force/*" { capabilities = ["deny"] }
path "sys/seal"                  { capabilities = ["deny"] }
path "sys/policies/*"            { capabilities = ["deny"] }
path "sys/policy/*"              { capabilities = ["deny"] }
