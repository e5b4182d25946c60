"""What a version was made from, by what, and who vouches for it: in-toto statements, signed with DSSE."""
