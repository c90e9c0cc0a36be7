"""Journey credentials: JOSE, SD-JWT and status lists around an encrypted template."""
