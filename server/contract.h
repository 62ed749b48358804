/* openapi/openapi.yaml, compiled in: the running program serves the contract it was built with. */
#ifndef CDCCA_CONTRACT_H
#define CDCCA_CONTRACT_H

const char *contract_text(void);

#endif
