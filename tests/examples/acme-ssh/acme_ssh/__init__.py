"""acme.ssh: wherry fetches from a plain copy on any host that has sshd."""
